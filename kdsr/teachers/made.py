"""A teacher of which there are only pictures: those that it made of another folder's."""

import functools
import pathlib
from typing import NamedTuple

from kdsr.data.images import list_images, read_rgb
from kdsr.paths import expanded


class Made(NamedTuple):
    """A folder of a teacher's pictures, with what `Teacher` has. pairs: {name of the given picture: its file here}."""

    name: str
    folder: pathlib.Path
    scale: int
    pairs: dict
    digest: str = ''

    def __str__(self):
        return f'{self.name}: {len(self.pairs)} pictures in {self.folder}, x{self.scale}'

    def blocks(self, name, lr, place=(0, 0)):
        """The teacher's picture of the picture `name`, in one band: of its part `lr` at `place`, (row, column) of LR pixels.

        Raises OSError where there is none, ValueError where it is of another size.
        """
        if name not in self.pairs:
            raise OSError(f'{self.folder} has no picture of it')
        (top, left), s = place, self.scale
        image = _read(self.pairs[name])[s * top : s * (top + len(lr)), s * left : s * (left + lr.shape[1])]
        if image.shape[:2] != (s * lr.shape[0], s * lr.shape[1]):
            raise ValueError(f'{self.pairs[name]} is not {s} times as large as the picture that it was made of')
        yield image


@functools.lru_cache(maxsize=1)  # several squares are cut from one
def _read(file):
    return read_rgb(file)


def paired(name, folder, given):
    """The Made of `folder`, whose pictures were made of `given`, {name: function that reads it}.

    A picture 'cat' is that of 'cat.png', 'cat_x4.png', 'cat-out.png', 'catx4.png': the same name, or the one beginning with it.

    Raises FileNotFoundError without pictures, ValueError where none belongs to another, or is no whole number of times as large.
    """
    folder = expanded(folder)
    files = {file.stem: file for file in list_images(folder)}
    pairs = {}
    for one in given:
        longer = [stem for stem in files if stem.startswith((f'{one}_', f'{one}-', f'{one}x', f'{one}.')) and stem not in given]
        if one in files or len(longer) == 1:
            pairs[one] = files[one if one in files else longer[0]]
        elif longer:
            raise ValueError(f"'{folder}' has {len(longer)} pictures of {one}, {', '.join(sorted(longer)[:3])}: keep one of them")
    if not pairs:
        raise ValueError(f"'{folder}': no picture there has the name of one in --data ({', '.join(list(given)[:3])})")
    first = next(iter(pairs))
    lr, sr = given[first](), _read(pairs[first])
    scale = sr.shape[0] // lr.shape[0]
    if scale < 1 or (scale * lr.shape[0], scale * lr.shape[1]) != sr.shape[:2]:
        sizes = f'{sr.shape[1]}x{sr.shape[0]} and {first} {lr.shape[1]}x{lr.shape[0]}'
        raise ValueError(f'{pairs[first]} is {sizes}: no enlargement by a whole number')
    return Made(name, folder, scale, pairs)
