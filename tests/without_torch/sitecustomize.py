"""Put this folder on PYTHONPATH and torch is not installed (test_cli_verbs.py)."""

import sys


class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return None


sys.meta_path.insert(0, NoTorch())
