"""What an event loop offers that cannot be durable: a body that uses it gets an error which says what to do."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from zart_redis.errors import NotDurable


def refuse(what: str) -> NoReturn:
    raise NotDurable(
        f"{what} is not durable: when the body waits it would be lost, and a replay would repeat it. Make it a step"
    )


def _refused(name: str) -> Any:
    def method(self: asyncio.AbstractEventLoop, *args: Any, **options: Any) -> NoReturn:
        refuse(f"{name}() of the event loop")

    method.__name__ = name
    return method


class UndurableLoop(asyncio.AbstractEventLoop):
    """The methods that a body's event loop does not have."""

    run_forever = _refused("run_forever")
    run_until_complete = _refused("run_until_complete")
    stop = _refused("stop")
    run_in_executor = _refused("run_in_executor")
    set_default_executor = _refused("set_default_executor")
    getaddrinfo = _refused("getaddrinfo")
    getnameinfo = _refused("getnameinfo")
    create_connection = _refused("create_connection")
    create_server = _refused("create_server")
    create_unix_connection = _refused("create_unix_connection")
    create_unix_server = _refused("create_unix_server")
    create_datagram_endpoint = _refused("create_datagram_endpoint")
    connect_accepted_socket = _refused("connect_accepted_socket")
    start_tls = _refused("start_tls")
    sendfile = _refused("sendfile")
    connect_read_pipe = _refused("connect_read_pipe")
    connect_write_pipe = _refused("connect_write_pipe")
    subprocess_shell = _refused("subprocess_shell")
    subprocess_exec = _refused("subprocess_exec")
    add_reader = _refused("add_reader")
    remove_reader = _refused("remove_reader")
    add_writer = _refused("add_writer")
    remove_writer = _refused("remove_writer")
    sock_recv = _refused("sock_recv")
    sock_recv_into = _refused("sock_recv_into")
    sock_recvfrom = _refused("sock_recvfrom")
    sock_recvfrom_into = _refused("sock_recvfrom_into")
    sock_sendall = _refused("sock_sendall")
    sock_sendto = _refused("sock_sendto")
    sock_connect = _refused("sock_connect")
    sock_accept = _refused("sock_accept")
    sock_sendfile = _refused("sock_sendfile")
    add_signal_handler = _refused("add_signal_handler")
    remove_signal_handler = _refused("remove_signal_handler")
    set_task_factory = _refused("set_task_factory")
