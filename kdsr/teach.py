"""A teacher enlarges all training pictures once; students then learn from the pictures, whatever the teacher is.

python -m kdsr.teach edsr_x4 --data=photos --out=taught
python -m kdsr.teach net.pth --data=photos,scans@2 --out=taught --degrade=realesrgan --patches=4
python -m kdsr.teach net.onnx --data=phone --out=taught --degrade=none
python -m kdsr.teach the_old_service --made=its_pictures --data=what_it_was_given --out=taught

The teacher is a kdsr export, run or shipped model, a PyTorch file, .onnx, .tflite, a SavedModel, or with --made a folder of
pictures that it made. The folder --out has LR_x<scale>/, HR/ (the teacher's pictures, 8 bits), truth/ where it is known, and
teacher.json, by which every command knows them: --config.data.path=taught trains on them, kdsr.evaluate scores by the truth and by
the teacher. Of several folders each has its own, OUT/<folder>_teacher. The same command goes on after a kill.
"""

import functools
import pathlib

from absl import flags

from kdsr import commands, console, named, teachers
from kdsr.data import layouts
from kdsr.paths import expanded
from kdsr.teachers import made, taught


def run(teacher, data, out, *, made_in='', layout='', scale=None, options=None):
    """Teaches the pictures of folders; {folder written: (pictures, [(name, why) left out])}.

    Args:
      teacher: path or name, as of `teachers.opened`; with made_in, a folder of its pictures, only its name.
      data: folders as of `layouts.entries`. out: the folder for one, the folder of the folders for several.
      layout, scale: as of `teachers.opened`. options: taught.Options.

    Raises what `teachers.opened`, `made.paired` and `taught.make` raise, and ValueError where two folders have the same name.
    """
    options = options or taught.Options()
    names = [pathlib.Path(folder.partition('@')[0]).name for folder in data]
    if again := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"--data has two folders called '{sorted(again)[0]}': give one of them another name (a link will do)")
    room = expanded(out)
    targets = [room] if len(data) == 1 else [room / f'{name}_teacher' for name in names]
    found, opened = {}, None if made_in else teachers.opened(teacher, layout, scale)
    if made_in and len(data) > 1:
        raise ValueError('--made is of one folder of --data: give the others each a command')
    for folder, name, target in zip(data, names, targets, strict=True):
        source = pictures_of(teacher, folder, made_in, scale) if made_in else opened
        given = made_in or source.scale == 1 and not partner(folder)  # the pictures are LR
        chosen = options._replace(degrade=options.degrade or ('none' if given else ''))
        console.say(str(source))
        target.parent.mkdir(parents=True, exist_ok=True)
        found[target] = taught.make(source, folder, target, chosen, console.progress(name))
    return found


def partner(folder):
    """Whether a folder holds the LR of a restoration, LR_x1."""
    return (expanded(folder.partition('@')[0]) / 'LR_x1').is_dir()


def pictures_of(name, folder, made_in, scale):
    """The `made.Made` of a folder of a teacher's pictures; ValueError where they are of another scale than `scale`."""
    given = {entry.name: functools.partial(lambda load: load()[0], entry.load) for entry in layouts.entries(folder, scale=None)}
    source = made.paired(name, made_in, given)
    if scale not in (None, source.scale):
        raise ValueError(f"'{made_in}' has pictures {source.scale} times as large, --scale={scale} is another one")
    return source


def define_flags():
    """The command's flags, declared when it runs and not when it is imported."""
    degrade = ['bicubic', *taught.DEGRADED, 'none']
    flags.DEFINE_list('data', None, 'folders of pictures or of pairs, comma-separated; @2 halves the pictures first', required=True)
    flags.DEFINE_string('out', None, 'the folder of what is taught; of several --data the folder of their folders', required=True)
    flags.DEFINE_enum('degrade', None, degrade, 'how LR is made (default: the LR partner, else bicubic); none: the pictures are LR')
    flags.DEFINE_integer('patches', 0, 'squares of each picture (0: whole pictures)', lower_bound=0)
    flags.DEFINE_integer('size', 480, "side of a square, pixels of the teacher's picture", lower_bound=16)
    flags.DEFINE_integer('seed', 0, 'of squares and degradations', lower_bound=0)
    flags.DEFINE_enum('colour', 'teacher', ['teacher', 'lr'], 'whose colours, in the large, the pictures have')
    flags.DEFINE_bool('truth', True, 'keep what the teacher imitates; without it students are scored by the teacher alone')
    flags.DEFINE_string('layout', '', "of a program's pictures, where it is not found: nhwc,bgr,255")
    flags.DEFINE_integer('scale', None, "the teacher's scale: which one of several, else a check", lower_bound=1)
    flags.DEFINE_string('made', '', 'folder of pictures that the teacher made of those in --data; TEACHER is then its name')


def main(argv):
    """Runs the command."""
    flag = flags.FLAGS
    if len(argv) != 2:
        raise ValueError(f'give one TEACHER, not {len(argv) - 1}: python -m kdsr.teach TEACHER --data=PICTURES --out=TAUGHT')
    chosen = {name: flag[name].value for name in taught.Options._fields if flag[name].value is not None}
    if not taught.Options(**chosen).squares and (given := [name for name in ('size', 'seed') if flag[name].present]):
        raise ValueError(f'--{given[0]} is of squares, and whole pictures are taught: give --patches as well, or leave it out')
    options = {'made_in': flag.made, 'layout': flag.layout, 'scale': flag.scale, 'options': taught.Options(**chosen)}
    for folder, (count, skipped) in run(argv[1], flag.data, flag.out, **options).items():
        more = f', {len(skipped)} left out' if skipped else ''
        print(f'{folder}: {count} pictures{more}')


named.function_too(__name__)


if __name__ == '__main__':
    define_flags()
    commands.run(main, arguments=True)
