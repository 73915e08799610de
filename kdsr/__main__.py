"""All commands: `kdsr` or `python -m kdsr` lists them, `kdsr train fakd:smoke` is `python -m kdsr.main --config=fakd:smoke`.

kdsr COMMAND --help     says what a command takes
"""

import runpy
import sys

COMMANDS = {  # module, what it does, whether its first argument is a config
    'train': ('main', 'trains a recipe: kdsr train fakd:smoke', True),
    'upscale': ('upscale', 'enlarges pictures: kdsr upscale photo.jpg --out=large', False),
    'evaluate': ('evaluate', 'scores a model: kdsr evaluate --model=light_x4 --data=Set5', False),
    'compare': ('compare', 'upscalers side by side on your pictures: kdsr compare photos --models=A,B --out=page', False),
    'export': ('export', 'writes a model for other runtimes: kdsr export light_x4 --to=stablehlo --out=files', False),
    'convert': ('convert', 'takes weights of other frameworks: kdsr convert net.pth --out=teachers/net', False),
    'teach': ('teach', 'any upscaler makes what students learn from: kdsr teach net.onnx --data=photos --out=taught', False),
    'report': ('report', 'runs as a table, curves and crops: kdsr report runs --out=report', False),
    'study': ('study', 'arms of an experiment, seeds, gains and costs: kdsr study fakd --out=runs/study', True),
    'budget': ('budget', 'what a step of a recipe costs: kdsr budget fakd', True),
    'blend': ('blend', 'two networks of one kind as one: kdsr blend A B --share=0.8 --out=AB', False),
    'prepare': ('data.prepare', 'cuts large pictures once: kdsr prepare DIV2K --out=records', False),
}


def main():
    """Runs the command that the first argument names."""
    name, *rest = sys.argv[1:] or ['--help']
    if name in ('--help', '-h', 'help', '--helpfull', '--helpshort'):
        width = max(map(len, COMMANDS))
        print(__doc__.strip() + '\n\n' + '\n'.join(f'    {k:{width}}  {about}' for k, (_, about, _) in COMMANDS.items()))
        return 0
    if name == '--version':
        import kdsr

        print(kdsr.__version__)
        return 0
    if name not in COMMANDS:
        from kdsr import fields

        print(f"error: no command '{name}'{fields.meant(name, COMMANDS)} (kdsr --help lists them)", file=sys.stderr)
        return 1
    module, _, takes_config = COMMANDS[name]
    if takes_config and rest and not rest[0].startswith('-'):
        rest[0] = f'--config={rest[0]}'
    sys.argv = [f'kdsr {name}', *rest]
    runpy.run_module(f'kdsr.{module}', run_name='__main__', alter_sys=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
