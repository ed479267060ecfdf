"""Uploading an export to the hub, or saying what would be uploaded."""

from pathlib import Path

UNSENT = ".*"  # patterns of files that stay here


def told(folder: Path, repository: str, licence: str) -> str:
    """What an upload of a folder would send, a line a file."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"  {path.relative_to(folder).as_posix()} ({path.stat().st_size:,} bytes)" for path in found]
    total = sum(path.stat().st_size for path in found)
    head = f"--dry-run: to {repository}, a private repository, would be uploaded {len(found)} files, {total:,} bytes:"
    return "\n".join([head, *lines, _licence(licence), "Nothing was uploaded."])


def push(folder: Path, repository: str, licence: str) -> str:
    """Upload a folder into a repository, which is made, private, where it is not there; -> what was done.

    Raises
    ------
    OSError
        Where the hub cannot be reached, or does not know the token (`hf auth login`, or HF_TOKEN).
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.create_repo(repository, repo_type="model", private=True, exist_ok=True)
        done = api.upload_folder(
            folder_path=str(folder), repo_id=repository, repo_type="model", ignore_patterns=[UNSENT],
            commit_message="Export of carryover",
        )  # fmt: skip
    except (HfHubHTTPError, OSError) as error:
        raise ConnectionError(
            f"--push {repository}: {' '.join(str(error).split())}; the export lies in {folder}. Log in (hf auth "
            f"login) and send it: hf upload {repository} {folder}"
        ) from error
    return f"Uploaded to {done.commit_url}\n{_licence(licence)}"


def _licence(licence: str) -> str:
    if licence == "unknown":
        return "Licence in the card: unknown; nobody may use the model before you give one: --license apache-2.0"
    return f"Licence in the card: {licence}"
