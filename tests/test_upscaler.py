"""A loaded network as a person calls it: what images it takes, what it says of itself, cards that are damaged."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdsr import models
from kdsr.models import exports


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    args, path = {'scale': 2, 'blocks': 1, 'features': 4}, tmp_path_factory.mktemp('upscaler')
    shapes = jax.eval_shape(models.build('edsr', **args).init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    exports.save(path, name='edsr', args=args, variables=jax.tree.map(lambda s: np.full(s.shape, 0.1, np.float32), shapes))
    return path


@pytest.mark.parametrize('kind', ['uint8', 'int32', 'int64', 'bool', 'complex64'])
def test_images_that_are_no_numbers_in_0_to_1_are_refused(folder, kind):
    """They would come back in 0..255 or worse without a word."""
    network, image = models.load(folder), np.ones((1, 6, 5, 3), kind)
    line = r'^the images are \w+: give numbers in \[0, 1\], for 0..255 np.float32\(images\) / 255$'
    for images in (image, jnp.asarray(image), image.tolist()):
        with pytest.raises(ValueError, match=line):
            network(images)


def test_images_of_another_shape_are_one_line(folder):
    network = models.load(folder)
    for shape, line in [
        ((6, 5, 3), r'^the images must be \[B, h, w, 3\], they are \[6, 5, 3\]: images\[None\] is a batch of one$'),
        ((1, 6, 5, 4), r'^the images must be \[B, h, w, 3\], they are \[1, 6, 5, 4\]$'),
        ((1, 6, 5, 1), r'they are \[1, 6, 5, 1\]'),
        ((6, 5), r'they are \[6, 5\]$'),
    ]:
        with pytest.raises(ValueError, match=line):
            network(np.ones(shape, np.float32))
    expected = network(np.full((1, 6, 5, 3), 0.5, np.float32))
    for images in (np.full((1, 6, 5, 3), 0.5), np.full((1, 6, 5, 3), 0.5, np.float16), np.full((1, 6, 5, 3), 0.5).tolist()):
        np.testing.assert_array_equal(network(images), expected)


def test_its_repr_is_short(folder):
    assert repr(models.load(folder)) == f'<Upscaler: edsr, x2, {models.load(folder).card["parameters"]:,} parameters>'
    assert repr(exports.upscaler(models.build('edsr'), {'params': {}})) == '<Upscaler: EDSR, x4, 0 parameters>'


@pytest.mark.parametrize('text', ['', '{', '[]', '{}', 'null', '{"model": 3, "args": {}, "sha256": ""}', '[' * 100_000])
def test_a_damaged_card_is_one_line(folder, tmp_path, text):
    for name in ('model.json', 'weights.safetensors'):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert json.loads((tmp_path / 'model.json').read_text())['model'] == 'edsr'
    (tmp_path / 'model.json').write_text(text)
    with pytest.raises(ValueError, match=r'model.json (is no card of a network \(\w+: .*\)|names no network): export or copy it'):
        models.load(tmp_path)
