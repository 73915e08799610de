"""Where training pairs and benchmark images come from: reading, resizing, degrading, batching."""
