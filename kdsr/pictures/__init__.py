"""Image files of all kinds as arrays and back: grey or colour, with or without alpha, 8 or 16 bits, written in pieces."""

from kdsr.pictures.reading import Picture, read, written_here
from kdsr.pictures.writing import EXTENSIONS, FORMATS, fitted, write

__all__ = ['EXTENSIONS', 'FORMATS', 'Picture', 'fitted', 'read', 'write', 'written_here']
