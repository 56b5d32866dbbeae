"""Every missing library is told with the command that brings it; the failures are those of perf.md, word for word."""

import pytest

from pointlift.rendering import preflight

FAILURES = {
    "ImportError: ('Unable to load EGL library', 'EGL: cannot open shared object file')": "libegl1",
    'ImportError: Library "GL" not found.': "libgl1",
    "ValueError: Invalid device ID (0)": "libegl-mesa0",
    "MESA-LOADER: failed to open swrast\nOpenGL.error.GLError: GLError(err = 12289, eglInitialize)": "libgl1-mesa-dri",
}


@pytest.fixture
def libraries(monkeypatch):
    """Say which libraries the loader finds, and what a trial render says."""

    def pretend(absent=(), failure=None):
        monkeypatch.setattr(preflight, "has_library", lambda name: name not in absent)
        monkeypatch.setattr(preflight, "trial_failure", lambda: failure)

    monkeypatch.delenv("EGL_DEVICE_ID", raising=False)
    return pretend


def test_a_whole_machine_has_nothing_to_say(libraries, capsys):
    libraries()
    assert preflight.missing() == []
    assert preflight.main([]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("library", "package"), [("libEGL.so.1", "libegl1"), ("libGL.so.1", "libgl1")])
def test_an_absent_library_is_named_with_both_commands(libraries, capsys, library, package):
    libraries(absent=(library,))
    assert preflight.main([]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert f"apt-get install -y {package};" in line
    assert "conda install -y -c conda-forge" in line


def test_two_absent_libraries_are_two_lines(libraries):
    libraries(absent=("libEGL.so.1", "libGL.so.1"))
    assert len(preflight.missing()) == 2


@pytest.mark.parametrize(("failure", "package"), FAILURES.items())
def test_known_failures_are_translated(libraries, failure, package):
    libraries(failure=f"Traceback (most recent call last):\n{failure}")
    (line,) = preflight.missing()
    assert line.startswith("missing: ")
    command = line.split("apt-get install -y ")[1].split(";")[0].split()
    assert package in command


def test_a_device_that_does_not_exist_may_be_the_users_own_wish(libraries, monkeypatch):
    libraries(failure="ValueError: Invalid device ID (9)")
    monkeypatch.setenv("EGL_DEVICE_ID", "9")
    assert "EGL_DEVICE_ID" in preflight.missing()[0]


def test_an_unknown_failure_is_shown_as_it_is(libraries):
    libraries(failure="some trace\nRuntimeError: the moon is full")
    (line,) = preflight.missing()
    assert "RuntimeError: the moon is full" in line
    assert "apt-get install -y" in line


@pytest.mark.parametrize("allowed", [True, False])
def test_only_root_on_debian_installs(libraries, monkeypatch, allowed):
    libraries(absent=("libEGL.so.1",))
    commands = []

    def apt(command, **_):
        commands.append(command)
        libraries()

    monkeypatch.setattr(preflight, "can_install", lambda: allowed)
    monkeypatch.setattr(preflight.subprocess, "run", apt)
    assert preflight.main(["--install"]) == (0 if allowed else 1)
    assert [command[:2] for command in commands] == [["apt-get", "update"], ["apt-get", "install"]] * allowed


def test_nothing_is_installed_unasked(libraries, monkeypatch):
    libraries(absent=("libEGL.so.1",))
    monkeypatch.setattr(preflight, "install", lambda: pytest.fail("installed unasked"))
    assert preflight.main([]) == 1
    libraries()
    assert preflight.main(["--install"]) == 0


def test_the_loader_is_asked():
    assert preflight.has_library("libc.so.6")
    assert not preflight.has_library("libno_such_thing.so.1")


@pytest.mark.render
def test_the_trial_works_here_and_fails_on_a_device_that_does_not_exist(render_process, monkeypatch):
    assert render_process("-m", "pointlift.rendering.preflight").returncode == 0
    monkeypatch.setenv("EGL_DEVICE_ID", "99")
    done = render_process("-m", "pointlift.rendering.preflight")
    assert done.returncode == 1
    assert "EGL_DEVICE_ID" in done.stdout
