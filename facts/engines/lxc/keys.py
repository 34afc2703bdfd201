"""The keys of LXC's files for containers: with another one it makes none (confile.c, lxc_config)."""

from __future__ import annotations

_KEYS = """
    lxc.apparmor.allow_incomplete lxc.apparmor.allow_nesting lxc.apparmor.profile lxc.apparmor.raw lxc.arch lxc.autodev
    lxc.autodev.tmpfs.size lxc.cap.drop lxc.cap.keep lxc.cgroup.dir lxc.cgroup.dir.container
    lxc.cgroup.dir.container.inner lxc.cgroup.dir.monitor lxc.cgroup.dir.monitor.pivot lxc.cgroup.relative
    lxc.console.buffer.size lxc.console.logfile lxc.console.path lxc.console.rotate lxc.console.size lxc.environment
    lxc.environment.hooks lxc.environment.runtime lxc.ephemeral lxc.execute.cmd lxc.group lxc.hook lxc.idmap lxc.include
    lxc.init.cmd lxc.init.cwd lxc.init.gid lxc.init.groups lxc.init.uid lxc.keyring.session lxc.log.file lxc.log.level
    lxc.log.syslog lxc.monitor.signal.pdeath lxc.monitor.unshare lxc.mount.auto lxc.mount.entry lxc.mount.fstab
    lxc.namespace.clone lxc.namespace.keep lxc.net lxc.no_new_privs lxc.prlimit lxc.proc lxc.pty.max lxc.rootfs.managed
    lxc.rootfs.mount lxc.rootfs.options lxc.rootfs.path lxc.sched.core lxc.seccomp.allow_nesting
    lxc.seccomp.notify.cookie lxc.seccomp.notify.proxy lxc.seccomp.profile lxc.selinux.context
    lxc.selinux.context.keyring lxc.signal.halt lxc.signal.reboot lxc.signal.stop lxc.start.auto lxc.start.delay
    lxc.start.order lxc.sysctl lxc.time.offset.boot lxc.time.offset.monotonic lxc.transient lxc.tty.dir lxc.tty.max
    lxc.uts.name
"""
KEYS = frozenset(_KEYS.split())
PREFIXES = ("lxc.cgroup.", "lxc.cgroup2.", "lxc.hook.", "lxc.namespace.share.", "lxc.net.", "lxc.prlimit.", "lxc.proc.",
            "lxc.sysctl.")  # fmt: skip
LISTS = ("lxc.cap.drop", "lxc.cap.keep")  # of capabilities
