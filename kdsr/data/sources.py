"""Where training images come from: folders, DIV2K, TFDS, ArrayRecord and the photographs inside scikit-image."""

import dataclasses
import functools
import importlib.util
import json
import pathlib
from collections.abc import Callable

import numpy as np
from absl import logging

from kdsr import fields, named
from kdsr.data import cache, layouts, records
from kdsr.paths import expanded


@dataclasses.dataclass(frozen=True)
class Source:
    """Decoded images with random access.

    names: one per image. shapes: (H, W) of each HR.
    read(i) -> (hr, lr): uint8 `[H, W, 3]`, and its LR partner `[H // s, W // s, 3]`, or None where LR is to be made.
      Worker processes are sent it (pickle); that of `open_source` of a module of your own need not be fit for that.
    where: what was looked at, for messages.
    groups: name of the picture that each image was cut from (empty: the names); `split` keeps a picture together.
    held_out: groups that are always validation; empty: every 25th.
    taught: per image None, or the layouts.Taught of an HR that a teacher made (empty: none is).
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    read: Callable[[int], tuple[np.ndarray, np.ndarray | None]]
    where: str
    groups: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    taught: tuple[layouts.Taught | None, ...] = ()

    def __len__(self):
        return len(self.names)

    def hr(self, i):
        """HR image `i`, uint8 `[H, W, 3]`."""
        return self.read(i)[0]

    def lr(self, i):
        """LR partner of image `i`, uint8 `[h, w, 3]`, or None."""
        return self.read(i)[1]

    def entry(self, i):
        """Image `i` as a `cache.Entry`."""
        taught = self.taught[i] if self.taught else None
        return cache.Entry(self.names[i], functools.partial(self.read, i), self.where, None, taught)

    def take(self, indices):
        """The images `indices`, in that order."""
        indices = tuple(indices)
        pick = lambda values: tuple(values[i] for i in indices) if values else ()
        picked = {name: pick(getattr(self, name)) for name in ('names', 'shapes', 'groups', 'taught')}
        return dataclasses.replace(self, **picked, read=functools.partial(_picked, self.read, indices))


def _picked(read, indices, i):
    return read(indices[i])


def split(source, every=25, smallest=1):
    """(training, validation): every 25th picture by sorted name is validation and never trained on.

    With fewer pictures the last one is; a single picture is training only. A source with `held_out` pictures
    gives those instead. Where none of these has both sides of `smallest` pixels, those that have are counted alone.
    """
    groups = source.groups or source.names
    of = lambda names: set(names[every - 1 :: every]) or set(names[1:][-1:])
    large = {group for group, shape in zip(groups, source.shapes, strict=True) if min(shape) >= smallest}
    held = set(source.held_out) or of(sorted(set(groups)))
    if held and not held & large:
        logging.warning('all %d validation images of %s are smaller than %dx%d: others are held out instead',
                        len(held), source.where, smallest, smallest)  # fmt: skip
        held = of(sorted(large))
    chosen = [g in held for g in groups]
    return tuple(source.take(i for i, c in enumerate(chosen) if c is held_out) for held_out in (False, True))


def open_source(cfg, scale=None):
    """The source that a config block describes.

    Args:
      cfg: dict or ConfigDict with `source`: 'embedded', 'folder' (`path`, `images`, `downscale`), 'tfds' (`name`,
        `split`, `path` = its data_dir) or 'array_record' (`path`); optionally `cache_dir`. Empty values: the defaults. Or the
        name of a module of your own, 'mypkg.photos', whose `open_source(cfg, scale)` gives a Source.
      scale: upscaling factor; None: `cfg.scale`.

    Raises ValueError for an unknown name or a field that the source does not have, and whatever the source raises.
    """
    for name, least in (('downscale', 1), ('validation_images', 1), ('threads', 0), ('workers', 0)):
        if (value := cfg.get(name)) is not None and (value != int(value) or value < least):
            raise ValueError(f'config.data.{name}={value} must be a whole number of at least {least}')
    scale = cfg.get('scale') if scale is None else scale
    get = lambda key, default=None: cfg.get(key) or default
    openers = {
        'embedded': lambda: embedded(cache_dir=get('cache_dir')),
        'folder': lambda: folder(
            get('path', ''),
            scale=scale,
            downscale=get('downscale', 1),
            images=get('images'),
            cache_dir=get('cache_dir'),
        ),
        'tfds': lambda: tfds(
            get('name', f'div2k/bicubic_x{scale}'),
            get('split', 'train'),
            get('path'),
            scale,
            cache_dir=get('cache_dir'),
        ),
        'array_record': lambda: array_record(get('path', '')),
    }
    if own := '.' in cfg['source'] and named.module(cfg['source'], ''):
        source = own.open_source(cfg, scale)
        return dataclasses.replace(source, read=Reopened(source.read, cfg, scale))
    if cfg['source'] not in openers:
        hint = fields.meant(cfg['source'], openers)
        raise ValueError(f"data source '{cfg['source']}' is unknown{hint} (known: {', '.join(openers)})")
    if cfg['source'] != 'folder':
        for name, default in (('images', ''), ('downscale', 1)):
            if get(name, default) != default:
                raise ValueError(f"config.data.{name}={get(name)!r}: source '{cfg['source']}' has no {name}, 'folder' has")
    return openers[cfg['source']]()


class Reopened:
    """`read` of a source of a person's own; a worker process, which is sent the config alone, opens that source again."""

    def __init__(self, read, cfg, scale):
        self.read, self.args = read, (cfg, scale)

    def __call__(self, i):
        return self.read(i)

    def __reduce__(self):
        return _reopened, self.args


def _reopened(cfg, scale):
    return open_source(cfg, scale).read


def folder(path, *, scale, downscale=1, images=None, cache_dir=None):
    """Images of one or more folders, decoded once into the cache.

    Args:
      path: a folder in one of three layouts: (a) images; (b) `HR/` with optional `LR_x4/` or `LR_bicubic/X4/`, as
        benchmarks have; (c) DIV2K's own. Several are joined by commas. `photos@2` halves the pictures of `photos`
        before use, which hides the artefacts of JPEG files. LR that is a pixel larger than HR / scale is cropped.
      scale: upscaling factor; says which LR folder is the partner.
      downscale: the same for all folders without their own `@`. LR folders are not used where it is above 1.
      images: numbers to use, e.g. '1-800' or '801-810,850': the first number in the file name counts. None: all.
      cache_dir: where the decoded images go; None: $KDSR_CACHE/images or ~/.cache/kdsr/images.

    Raises:
      FileNotFoundError, ValueError: as of `layouts.entries`; or no image can be read.
    """
    return _cached(layouts.entries(path, scale=scale, downscale=downscale, images=images), f"'{path}'", cache_dir, scale)


def _cached(items, where, cache_dir, scale, held_out=()):
    """Source of the cache's images; unreadable ones are named and counted once."""
    images = cache.decoded(items, cache_dir)
    if not images.names:
        name, reason = images.skipped[0]
        raise ValueError(f'none of the {len(items)} images in {where} can be used, e.g. {name}: {reason}; {layouts.LAYOUTS}')
    if images.skipped:
        reasons = '; '.join(f'{name}: {reason}' for name, reason in images.skipped)
        logging.warning('%d of %d images in %s skipped: %s', len(images.skipped), len(items), where, reasons)
    paired = [(name, pair) for i, name in enumerate(images.names) if (pair := images.read(i))[1] is not None]
    layouts.say_larger([name for name, pair in paired if layouts.is_larger(*pair, scale)], len(paired), where, scale)

    taught = {item.name: item.taught for item in items if item.taught}
    known = tuple(map(taught.get, images.names)) if taught else ()
    read = functools.partial(_fitting, images.read, scale)
    groups = tuple(one.group if one and one.group else name for one, name in zip(known, images.names, strict=True)) if known else ()
    return Source(images.names, images.shapes, read, where, groups=groups, held_out=held_out, taught=known)


def _fitting(read, scale, i):
    hr, lr = read(i)
    return hr, lr if lr is None else layouts.cropped(hr, lr, scale)[1]


EMBEDDED = (
    'astronaut.png',
    'brick.png',
    'camera.png',
    'chelsea.png',
    'coffee.png',
    'coins.png',
    'grass.png',
    'gravel.png',
    'motorcycle_left.png',
    'motorcycle_right.png',
    'rocket.jpg',
)


def embedded(cache_dir=None):
    """The photographs inside the scikit-image wheel: nothing to download; read as files, without importing skimage.

    Training: chelsea (cat, CC0, S. van der Walt), rocket (SpaceX, public domain), motorcycle_left and motorcycle_right
    (Middlebury 2014 stereo benchmark, Scharstein et al., GCPR 2014; no licence stated), and as grey ones camera (CC0,
    L. Varshney), brick, grass, gravel (CC0Textures, CC0), coins (Brooklyn Museum, no known copyright restrictions).
    Validation: astronaut (NASA, public domain), coffee (CC0, R. Michetti).

    Raises FileNotFoundError if scikit-image is not installed or has none of them.
    """
    cure = '`pip install scikit-image` brings them, or use a folder of your own (for training --config.data.path=FOLDER)'
    spec = importlib.util.find_spec('skimage')
    if not spec:
        raise FileNotFoundError(f'the photographs of scikit-image are not installed: {cure}')
    room = pathlib.Path(spec.submodule_search_locations[0]) / 'data'
    files = [room / name for name in EMBEDDED if (room / name).is_file()]
    if not files:
        raise FileNotFoundError(f"no photographs in '{room}': {cure}")
    if missing := set(EMBEDDED) - {f.name for f in files}:
        logging.warning('this scikit-image lacks %s', ', '.join(sorted(missing)))
    items = [cache.Entry(f.stem, functools.partial(layouts.load, f, None, 1, 1), str(f), cache.stamp(f)) for f in files]
    return _cached(items, f"'{room}'", cache_dir, 1, held_out=('astronaut', 'coffee'))


def tfds(name, split, data_dir, scale, cache_dir=None):
    """A built TFDS data set with the image features 'hr' and 'lr', such as `div2k/bicubic_x4`; read without TensorFlow.

    Args:
      name, split, data_dir: as for `tfds.builder`; data_dir None: TFDS's own default.
      scale: upscaling factor; pairs of another one are refused.

    Raises ModuleNotFoundError without tensorflow_datasets, FileNotFoundError if the set is not built as array_record.
    """
    try:
        import tensorflow_datasets
    except ModuleNotFoundError as e:
        raise ModuleNotFoundError(f"TFDS '{name}': `pip install tensorflow-datasets importlib_resources` reads it ({e})") from e
    # without file_format a data_dir makes TFDS look for TFRecords, which have no random access
    try:
        builder = tensorflow_datasets.builder(name, data_dir=data_dir, file_format='array_record')
    except ValueError as e:  # unknown name or config, or built as another format; the message may list a thousand names
        raise ValueError(f"TFDS '{name}' cannot be opened: {str(e).splitlines()[0]}") from e
    if not {'hr', 'lr'} <= set(builder.info.features or ()):
        raise ValueError(f"TFDS '{name}' has no image features 'hr' and 'lr' but {', '.join(builder.info.features or ())}")
    files = sorted(pathlib.Path(builder.data_path).glob('*.array_record*'))
    if not files:
        where = f", data_dir='{data_dir}'" if data_dir else ''
        raise FileNotFoundError(
            f"TFDS '{name}' is not built in {builder.data_path}: where TensorFlow is installed, run python -c "
            f"\"import tensorflow_datasets as t; t.builder('{name}'{where}, file_format='array_record')"
            ".download_and_prepare()\"; or unpack the zip files and use source='folder'"
        )
    records = builder.as_data_source(split=split)
    digest = [sum(s) if i == 0 else max(s) for i, s in enumerate(zip(*cache.stamp(*files), strict=True))]

    def load(i):
        pair = records[i]
        hr, lr = np.asarray(pair['hr']), np.asarray(pair['lr'])
        layouts.check_pair(hr, lr, scale, f'{name} {split} {i}')
        return hr, lr

    origin = f'tfds {builder.data_path} {split} x{scale}'
    items = [cache.Entry(f'{i:05}', functools.partial(load, i), f'{origin} {i}', digest) for i in range(len(records))]
    return _cached(items, f"TFDS '{name}' in {builder.data_path}", cache_dir, scale)


def array_record(path):
    """Sub-images cut by `python -m kdsr.data.prepare`; read from disk, not from the cache.

    Raises FileNotFoundError if `path` holds no info.json of that command.
    """
    info_file = expanded(path) / 'info.json'
    if not path or not info_file.is_file():
        raise FileNotFoundError(
            f"no sub-images in '{path}': make them with `python -m kdsr.data.prepare SOURCE --out={path or 'DIR'}`"
        )
    info = json.loads(info_file.read_text())
    read = records.reader(info_file.parent)
    shapes = tuple(tuple(s) for s in info['shapes'])
    taught = tuple(layouts.Taught(name, None) if name else None for name in info.get('teachers', ()))
    return Source(tuple(info['names']), shapes, read, f"'{path}'", groups=tuple(info['groups']), taught=taught)
