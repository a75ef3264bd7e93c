"""The converters as commands."""

import commands


def command(*arguments):
    return commands.run("-m", "monai_ext.datalist", *arguments)


def test_command_line(picai_root, tmp_path):
    out = tmp_path / "x.json"
    done = command("picai", "--root", picai_root, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "training" in done.stdout
    out.unlink()

    misspelt = command("picai", "--root", picai_root, "--out", out, "--split", "x")
    assert (misspelt.returncode, out.exists()) == (2, False)
    assert "--splits" in misspelt.stderr

    (picai_root / "images/10001/10001_1000002_adc.mha").unlink()
    missing = command("picai", "--root", picai_root, "--out", out)
    assert (missing.returncode, out.exists()) == (3, False)
    assert "10001_1000002_adc.mha" in missing.stderr
    assert "Traceback" not in missing.stderr
