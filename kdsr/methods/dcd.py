"""DCD: features of student and teacher become images that the teacher's discriminator looks at.

Ren et al., Discriminator-Cooperated Feature Map Distillation for GAN Compression, CVPR 2023. With s = S(x), t = T(x), F the
features at a pair of taps, phi a 1x1 convolution to three channels and Phi_D the last features of D before its logits:

    L_DCD = sum_taps mean |Phi_D(phi_T(F_T)) - Phi_D(phi_S(F_S))|
    L_student = style sum L1(Gram) + image L1(relu2_2) + w_adv G(D(y), D(s)) + w_dcd L_DCD       (s against t)
    L_teacher = L_sup(t, y) + w_adv G(D(y), D(t)),   L_disc = D(D(y), D(t))

'collaborative', as the paper means it: teacher and critic are trained from scratch beside the student; phi_S and phi_T have batch
norm and ReLU, phi_T stays as it was drawn. The released scripts train something else: the one for CycleGAN misspells the weight
of L_DCD (an error), and its student's game judges the teacher's image, which moves no student; the one for pix2pix gives a critic
of six channels three, does not add the game to the loss, and hooks a layer that its critic does not have, so that L_DCD is 0.
There phi_T learns beside the student (both may agree on a constant), and the weights of texture and features are exchanged.

'fixed', of this project: a trained teacher and its critic, both frozen; phi without batch norm and ReLU, and what it makes is
enlarged to the size of HR patches. 'collaborative' enlarges for critics of one size alone, which the paper has not.
"""

import jax

from kdsr import critics, fields, models, nets, sights, steps
from kdsr.losses import pixel
from kdsr.taps import paired, quarters

FORMS = ('collaborative', 'fixed')
DEFAULTS = {
    **critics.TRUTH,
    'pixel': 'l1',
    'w_pixel': 1.0,
    'pixel_range': 1.0,
    'form': 'collaborative',
    'taps': '',
    'look': critics.LOOK,
    'w_dcd': 1.0,
    'adversarial': 'vanilla',
    'w_adv': 0.1,
    'r1': critics.R1,
    **dict.fromkeys(('wide', 'discriminator'), {}),
    'teacher_disc': '',
    **dict.fromkeys(('adapt_optimizer', 'teacher_optimizer', 'disc_optimizer'), {}),
    'scales': '',
}
RANGES = critics.RANGES


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    m = cfg.method
    if fields.chosen('config.method.form', m.form, FORMS) == 'collaborative':
        found = critics.truth_unread(m) | critics.r1_unread(m)
        names = ('teacher_disc',)
    else:
        found = {}
        names = (*critics.TRUTH, 'wide', 'discriminator', 'r1', 'teacher_optimizer', 'disc_optimizer')
    return found | {f'method.{name}': f"method.form='{m.form}' does not read it" for name in names}


def lifts(cfg, pairs, norm):
    """(the student's convolutions to three channels, to be trained; fn(variables, features) of the teacher's; its variables)."""
    inputs = tuple(zip(*pairs.widths, strict=True))
    made = [
        nets.trained('adapter', {'inputs': i, 'widths': (3,) * len(i), 'norm': norm}, cfg, 'config.method.taps', exported=False)
        for i in inputs
    ]
    theirs = made[1].module
    # a key of its own: it must not be the student's convolution again
    return made[0], theirs, nets.start(made[1], jax.random.fold_in(jax.random.key(cfg.seed), 1 << 20))


def looks(net, variables, maps, size, always):
    """The last features of the critic `net` of each of `maps`, enlarged to `size` first: always, or where it takes no others."""
    found = []
    for image in maps:
        if always or not takes(net, image):
            image = jax.image.resize(image, (len(image), size, size, 3), 'bilinear')
        taps = net.apply(variables, image)[1]
        found.append(taps[list(taps)[-1]])
    return found


def takes(net, image):
    """Whether a critic judges images of this size, as convolutions alone do."""
    try:
        jax.eval_shape(net.init, jax.random.key(0), image)
    except ValueError:
        return False
    return True


def make(cfg):
    """Method of a config with `student`, `teacher` (an export, for form 'fixed') and the block `method`:

    form: 'collaborative' or 'fixed'. wide: fields in which the teacher that is trained beside the student differs from it.
    w_pixel, pixel, pixel_range, content, sharpen: that teacher's own terms, as in kdsr.methods.gan. look: textures and features of
    the student's image against the teacher's (kdsr.critics). taps: '' = four of each, equally far apart. w_dcd, w_adv,
    adversarial: weights, and kind of the game. discriminator, r1: the critic; teacher_disc: export of the frozen one.
    scales: as in kdsr.methods.gan.
    """
    m = cfg.method
    together = fields.chosen('config.method.form', m.form, FORMS) == 'collaborative'
    play = fields.chosen('config.method.adversarial', m.adversarial, critics.GAMES, own=True)
    student, (compare, viewer) = nets.student(cfg), critics.look(m.look, cfg.dtype)
    frozen, trained = {'look': viewer}, {'student': student}
    if together:
        teacher = trained['teacher'] = nets.beside(cfg, 'wide')
        disc = trained['disc'] = critics.critic(cfg)
        supervise, frozen['features'] = critics.truth(m, cfg.dtype)
        theirs = (teacher.name, teacher.module)
    else:
        network = nets.teacher(cfg)
        disc, frozen['disc'] = critics.exported(cfg, 'teacher_disc')
        frozen['teacher'], theirs = network.variables, (network.card['model'], network.module)
    pairs = paired(m.taps, (student.name, student.module), theirs, quarters)
    trained['adapt'], lift, frozen['lift'] = lifts(cfg, pairs, norm=together)

    see, frozen['sight'] = sights.of(cfg, student.module, theirs[1])

    def taught(call, params, ctx, inputs, named):
        """(teacher's image, its taps, the teacher's loss, the Round of its critic, their new variables)."""
        if not together:
            return *theirs[1].apply(ctx.frozen['teacher'], *inputs, **named), None, None, {}
        (tr, taps), moved = call(teacher.module, 'teacher', *inputs, **named)
        game = critics.played(m, play, disc, params, ctx, ctx.batch.hr, tr)
        return tr, taps, supervise(ctx, tr)[0] + m.w_adv * game.fool, game, {'teacher': moved, 'disc': game.moved}

    def losses(params, ctx):
        def call(net, name, *inputs, **named):
            return models.train_apply(net, params[name], ctx.vars[name], *inputs, axis=ctx.axis, **named)

        inputs, named = see(ctx)
        (sr, taps), ours = call(student.module, 'student', *inputs, **named)
        tr, their_taps, loss_teacher, game, moved = taught(call, params, ctx, inputs, named)
        (lifted, _), brought = call(trained['adapt'].module, 'adapt', pairs.student(taps))
        target, _ = lift.apply(ctx.frozen['lift'], pairs.teacher(their_taps))
        judge = {'params': params['disc'], **moved['disc']} if together else ctx.frozen['disc']
        views = zip(
            *(looks(disc.module, judge, maps, cfg.patch * cfg.scale, not together) for maps in (target, lifted)), strict=True
        )
        loss, parts = compare(ctx.frozen['look'], sr, tr)
        seen = critics.shown(play, disc, judge, ctx, ctx.batch.hr, sr, 'disc_student')
        parts |= {'dcd': sum(pixel.l1(a, b) for a, b in views), 'adversarial': seen.fool} | seen.seen
        loss += m.w_dcd * parts['dcd'] + m.w_adv * seen.fool
        found, moved = {'student': loss, 'adapt': loss}, moved | {'student': ours, 'adapt': brought}
        if together:
            found |= {'teacher': loss_teacher, 'disc': game.against}
            parts |= game.seen
        return found, (moved, parts)

    return steps.method(cfg, losses, trained, frozen)
