"""Ports of debuggers in command lines and environments."""

import pytest

from inpod.launch.debuggers import debugger_ports


@pytest.mark.parametrize(
    ("command", "ports"),
    [
        ("python -m debugpy --listen 5678 app.py", [5678]),
        ("python -m debugpy --listen 0.0.0.0:5678 --wait-for-client app.py", [5678]),
        ("python -Xfrozen_modules=off -m debugpy --connect 127.0.0.1:40001 app.py", [40001]),
        ("python /x/debugpy --connect 127.0.0.1:40001 --configure-qt none app.py", [40001]),
        ("python /x/debugpy/launcher 45123 -- app.py --port 8080", [8080, 45123]),
        ("python /x/pydevd.py --multiprocess --client 127.0.0.1 --port 40002 --file app.py", [40002]),
        ("node --inspect app.js", [9229]),
        ("node --inspect-brk=9230 app.js", [9230]),
        ("node --inspect=0.0.0.0:9231 app.js", [9231]),
        ("node --inspect=127.0.0.1 app.js", [9229]),
        ("node --inspect-port=9232 app.js", [9232]),
        ("java -agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=*:5005 -jar x.jar", [5005]),
        ("java -agentlib:jdwp=transport=dt_socket,address=5006,server=y X", [5006]),
        ("java -Xrunjdwp:transport=dt_socket,server=y,address=127.0.0.1:5007 X", [5007]),
        ("dlv exec ./x --headless --listen=:2345", [2345]),
        ("dlv debug --listen 127.0.0.1:2346 -l :2347", [2346, 2347]),
        ("python app.py --listen 8080", []),
        ("gunicorn --port 8000", []),
        ("node app.js --inspector", []),
        ("python -m debugpy --listen 99999 app.py", []),
        ("java -agentlib:jdwp=transport=dt_socket,server=y X", []),
    ],
)
def test_ports_in_a_command_line(command: str, ports: list[int]) -> None:
    assert list(debugger_ports(command.split(), {})) == ports


@pytest.mark.parametrize(
    ("name", "value", "ports"),
    [
        ("NODE_OPTIONS", "--max-old-space-size=100 --inspect=9300", [9300]),
        ("NODE_OPTIONS", '--require "a b.js" --inspect', [9229]),
        ("NODE_OPTIONS", "--inspect=9301 'unfinished", [9301]),
        ("JAVA_TOOL_OPTIONS", "-Xmx1g -agentlib:jdwp=transport=dt_socket,server=y,address=5008", [5008]),
        ("MIRRORD_IGNORE_DEBUGGER_PORTS", "5009", [5009]),
        ("MIRRORD_IGNORE_DEBUGGER_PORTS", "5009, 6000-6002", [5009, 6000, 6001, 6002]),
        ("MIRRORD_IGNORE_DEBUGGER_PORTS", "65534-99999999999", [65534, 65535]),
        ("MIRRORD_IGNORE_DEBUGGER_PORTS", "a,-,5-,-5,,9-3", []),
    ],
)
def test_ports_in_the_environment(name: str, value: str, ports: list[int]) -> None:
    assert list(debugger_ports(["program"], {name: value})) == ports
