"""``python -m wazn`` is the ``wazn`` command."""

from wazn.cli.main import main

if __name__ == "__main__":
    main()
