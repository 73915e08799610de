"""Two networks of one kind -> one whose weights lie between theirs: ESRGAN's network interpolation.

python -m kdsr.blend runs/esrgan_demo/adversarial runs/esrgan_demo/psnr --share=0.8 --out=runs/esrgan_blended

Wang et al., ESRGAN, ECCVW 2018, section 3.4: 0.8 of the adversarially trained weights and 0.2 of those that PSNR trained.
"""

import jax
from absl import flags

from kdsr import commands, models
from kdsr.models import exports
from kdsr.paths import fresh

KEPT = ('scales', 'data', 'hardware', 'jax')  # of the first card, where it has them


def blend(first, second, share, out):
    """Writes `share` of the weights of `first` and the rest of `second` as the export `out`, and returns its card.

    Args:
      first, second: exports, runs or shipped names of any network, a discriminator as well. share: in [0, 1]. out: new folder.

    Raises what `models.network` raises; ValueError where the two are different networks or `share` is out of range;
    FileExistsError where `out` has files.
    """
    if not 0 <= share <= 1:
        raise ValueError(f'--share={share} must be in [0, 1]: 0.8 is 0.8 of {first} and 0.2 of {second}')
    out = fresh(out)
    (net, ours, card), (other, theirs, their_card) = (models.network(path) for path in (first, second))
    if net != other:
        raise ValueError(f'{first} is {net!r} and {second} {other!r}: only networks of equal form can be blended')
    weights = jax.tree.map(lambda a, b: share * a + (1 - share) * b, ours, theirs)
    source = lambda path, part, its: {'export': str(path), 'share': part, 'sha256': its['sha256']}
    facts = {k: card[k] for k in KEPT if k in card}
    facts['blend'] = [source(first, share, card), source(second, 1 - share, their_card)]
    return exports.save(out, name=card['model'], args=card['args'], variables=weights, dtype=card['dtype'], **facts)


def define_flags():
    """The command's flags, declared when it runs and not when it is imported."""
    flags.DEFINE_float('share', None, 'how much of the first, in [0, 1]', required=True)
    flags.DEFINE_string('out', None, 'new directory for the export', required=True)


def main(argv):
    """Runs the command."""
    flag = flags.FLAGS
    if len(argv) != 3:
        raise ValueError(f'give two networks, not {len(argv) - 1}: python -m kdsr.blend FIRST SECOND --share=0.8 --out=DIR')
    card = blend(argv[1], argv[2], flag.share, flag.out)
    of_both = f'{flag.share:g} of {argv[1]} and {1 - flag.share:g} of {argv[2]}'
    print(f'{of_both} -> {flag.out}: {card["model"]}, {card["parameters"]:,} parameters')


if __name__ == '__main__':
    define_flags()
    commands.run(main, arguments=True)
