"""The modules of others that the dashboard uses: compared with the published packages by `make vendor`.

`python -m tests.browser.vendor --write` takes the versions that vendor.json names.
"""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "zart_redis/http/static/vendor"
MANIFEST = FOLDER / "vendor.json"


def read_manifest() -> dict[str, dict[str, Any]]:
    manifest: dict[str, dict[str, Any]] = json.loads(MANIFEST.read_text())
    return manifest


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def adapted(content: bytes, entry: dict[str, Any]) -> bytes:
    """A module as the page needs it: without its source map, and with imports that a browser resolves by itself."""
    lines = [line for line in content.decode().splitlines() if not line.startswith("//# sourceMappingURL=")]
    text = "\n".join(lines).rstrip() + "\n"
    if "replace" in entry:
        old, new = entry["replace"]
        assert text.count(old) == 1, f"{old!r} is not once in {entry['member']}"
        text = text.replace(old, new)
    return text.encode()


def published(package: str, version: str) -> dict[str, bytes]:
    """The files of a published package."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", f"{package}@{version}"]
        name = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
        content = (Path(folder) / name).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        opened = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        return {name.removeprefix("package/"): file.read() for name, file in opened.items() if file is not None}


def main(write: bool) -> int:
    manifest = read_manifest()
    wrong = []
    for name, entry in manifest.items():
        files = published(entry["package"], entry["version"])
        expected = {name: adapted(files[entry["member"]], entry), entry["licence"]: files["LICENSE"]}
        if write:
            entry["sha256"] = sha256(expected[name])
            for file, content in expected.items():
                (FOLDER / file).write_bytes(content)
        else:
            wrong += [file for file, content in expected.items() if (FOLDER / file).read_bytes() != content]
    if write:
        MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n")
    for file in wrong:
        print(f"{file} is not what was published")
    print(f"{len(manifest)} modules {'written' if write else 'compared'}, {len(wrong)} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
