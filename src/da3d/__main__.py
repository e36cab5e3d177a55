"""``python -m da3d`` is the command ``da3d``."""

from da3d.cli.main import run

if __name__ == "__main__":
    run()
