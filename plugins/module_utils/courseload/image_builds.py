"""How images are built: a command for Bash for each, as a job of the action `follow`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from shlex import quote
from typing import Any

from .images import Image

# The label that says of what day the packages of an image are; images that start from it have it as well.
PACKAGES_OF = "courseload.packages-of"


def build_jobs(
    names: Iterable[str], images: Mapping[str, Image], references: Mapping[str, str], directory: str, user: object
) -> list[dict[str, str]]:
    """A job for each image. `directory` is the host's, and has the build context; `user` is that of the containers."""
    return [{"name": name, "command": _command(name, images[name], references, directory, user)} for name in names]


def _command(name: str, image: Image, references: Mapping[str, str], directory: str, user: object) -> str:
    make = _from_debian(image["debian"], user) if "debian" in image else _FROM_CONTAINERFILE
    variables = {
        "image": references[name],
        "base": references.get(image.get("from", ""), ""),
        "directory": directory,
        "recipe": f"roles/image/files/{name}/Containerfile",
        "context": f"{directory}/{name}",
    }
    lines = [f"{variable}={quote(value)}" for variable, value in variables.items()]
    return "\n".join([*lines, _UNLESS_THERE, make])


# Where another run has made it while this one waited, there is nothing left to do.
_UNLESS_THERE = """\
set -o pipefail
if podman image exists "$image"; then
  echo 'it is there: another run has made it'
  exit 0
fi"""

# Each build has its own copy of the build context, since another run may bring another one meanwhile; with the modes
# that the archive has. The host's certificate authorities are mounted, so that a build trusts whom the host trusts, and
# the image keeps none of them.
_FROM_CONTAINERFILE = """\
rm -rf "$context"
mkdir "$context"
trap 'rm -rf "$context"' EXIT
tar --extract --gzip --same-permissions --no-same-owner \
  --file="$directory/context.tar.gz" --directory="$context" || exit
podman build --label part-of=courseload --network host --layers=false --build-arg BASE="$base" \
  --volume /etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro \
  --tag "$image" --file "$context/$recipe" "$context"
"""


def _from_debian(debian: Mapping[str, Any], user: object) -> str:
    """A root file system from a Debian mirror becomes an image. What only people read is left out."""
    unread = [f"--dpkgopt=path-exclude=/usr/share/{kind}/*" for kind in ("doc", "man", "locale")]
    account = f"--uid {user} --gid {user} --no-create-home --home-dir / app"
    arguments = [
        f"--include={','.join(debian['packages'])}",
        *(f"--aptopt={option}" for option in debian.get("options", [])),
        *unread,
        f'--customize-hook=chroot "$1" groupadd --gid {user} app',
        f'--customize-hook=chroot "$1" useradd {account}',
        debian["suite"],
    ]
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return (
        f'TMPDIR="$directory" mmdebstrap --variant=minbase {" ".join(map(quote, arguments))} - |\n'
        f"  podman import --change LABEL=part-of=courseload --change LABEL={PACKAGES_OF}=$(date --utc +%F) \\\n"
        f'    --change ENV=PATH={path} - "$image"\n'
    )
