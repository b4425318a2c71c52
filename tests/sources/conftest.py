import pytest


@pytest.fixture
def write(tmp_path):
    def write(content: bytes | str, name: str = "data.json") -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write
