"""What the load needs before it begins: who plays the agents, a trusted key, images, and a signed manifest for each kind."""
import os
import shutil
import struct

# What each kind of agent does, how its life may end by itself, and what kosvmd then says.
#   command    words for the agent: tests/support/stand_in_agent.c, or tests/kills/talker.c in a real guest
#   lifecycle  lines of that section
#   ends       if it ends by itself: (state, exit code, pattern of the reason)
#   unsteady   seconds after a start in which it may get another VMM by itself
#   patience   its start-timeout: one that hangs before kosvmd knew it to run has that long
#   kill_only  it does not listen to a polite stop
POLICY = {"restart-max": "0", "restart-backoff": "100ms", "restart-backoff-max": "500ms"}


class StandIns:
    """tests/support/stand_in_vmm in the place of kosvm-vmm: no guest, hundreds of lives a minute."""
    agent = "/agent"
    real = False
    pause = ["", "sleep 0.1; "]
    settle = 40  # seconds until nothing moves any more
    kinds = {
        "idle": dict(command="run"),
        "talks": dict(command="chatter 15"),
        "floods": dict(command="burst 3000 chatter 50"),
        "disk": dict(command="chatter 40", state="8M"),
        "leaves": dict(command="chatter 10 exit 3 400", ends=("stopped", 3, "code 3")),
        "falls": dict(command="chatter 10 signal 11 300", ends=("stopped", 139, "signal 11")),
        "crashes": dict(command="crash 350", ends=("failed", None, "signal 6|not known")),
        "switches-off": dict(command="poweroff 350", ends=("failed", None, "power-off|powered off|switched")),
        "stubborn": dict(command="stubborn chatter 30", grace="1s"),
        "comes-back": dict(command="chatter 25", lifecycle=dict(POLICY, restart="always")),
        "tries-again": dict(command="chatter 25", lifecycle=dict(POLICY, restart="on-failure")),
        "hangs": dict(command="chatter 20 hang-once 300", state="8M", patience="5s", unsteady=2.5, kill_only=True,
                      lifecycle=dict(POLICY, restart="on-failure", heartbeat="100ms", **{"heartbeat-timeout": "700ms"})),
        "dozes": dict(command="run", lifecycle={"idle-after": "1s"}),
    }

    def before(self, host):
        """In front of the first kosvmd."""
        # It is no static program that could live in an empty root.
        host.env["KOSVM_SANDBOX"] = os.path.join(host.work, "sandbox.ini")
        with open(host.env["KOSVM_SANDBOX"], "w") as f:
            f.write("[isolation]\njail = off\n")

    def prepare(self, host):
        """Key and images: the key to sign with, and digests by the manifest's words."""
        key = os.path.join(host.work, "key")
        host.good("key", "gen", "--no-password", key)
        host.good("key", "trust", key + ".pub")
        return key + ".key", import_images(host)


class Guests:
    """Linux guests on real KVM, from what tests/integration/prepare made."""
    agent = "/opt/test/talker"
    real = True
    pause = ["", "sleep 0.2; "]
    settle = 180
    kinds = {
        "idle": dict(command="run"),
        "talks": dict(command="chatter 60"),
        "floods": dict(command="burst 1000 chatter 200"),
        "disk": dict(command="chatter 150", state="8M"),
        "leaves": dict(command="chatter 50 exit 3 1500", ends=("stopped", 3, "code 3")),
        "falls": dict(command="chatter 50 signal 11 1000", ends=("stopped", 139, "signal 11")),
        "stubborn": dict(command="stubborn chatter 150", grace="1s"),
        "comes-back": dict(command="chatter 100", state="8M", lifecycle=dict(POLICY, restart="always")),
        "dozes": dict(command="run", lifecycle={"idle-after": "1s"}),
    }

    def __init__(self, prepared):
        self.prepared = prepared

    def before(self, host):
        shutil.copytree(os.path.join(self.prepared, "state"), host.state)

    def prepare(self, host):
        with open(os.path.join(self.prepared, "images")) as f:
            digests = dict(line.strip().split("=") for line in f)
        return os.path.join(self.prepared, "trusted.key"), {k: digests[k.upper()] for k in ("kernel", "initramfs", "rootfs")}


def write_kernel(path):
    """The least that is a kernel to kosvmd: an x86-64 ELF program with one segment."""
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0x100000, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x100000, 0x100000, 4096, 4096, 4096)
    with open(path, "wb") as f:
        f.write((header + segment).ljust(4096, b"\xf4"))


def import_images(host):
    """Their digests by the manifest's key."""
    kernel, modules, root = (os.path.join(host.work, n) for n in ("kernel", "modules", "root"))
    write_kernel(kernel)
    os.makedirs(modules, exist_ok=True)
    os.makedirs(root, exist_ok=True)
    with open(os.path.join(root, "hello"), "w") as f:
        f.write("hello\n")
    with open(os.path.join(modules, "modules.dep"), "w"):
        pass
    with open(os.path.join(modules, "modules.builtin"), "w") as f:
        for name in ("virtio_ring virtio virtio_mmio virtio_blk vsock vmw_vsock_virtio_transport_common "
                     "vmw_vsock_virtio_transport erofs").split():
            f.write("kernel/%s.ko\n" % name)
    return {kind: host.good("image", "import", kind, path)
            for kind, path in (("kernel", kernel), ("initramfs", modules), ("rootfs", root))}


def write_manifest(host, cast, images, kind):
    spec = cast.kinds[kind]
    path = os.path.join(host.work, "%s.ini" % kind)
    lines = ["[agent]", "name = " + kind, "[image]"] + ["%s = %s" % item for item in images.items()]
    lines += ["[resources]", "memory = %s" % ("128M" if cast.real else "64M"), "state = " + spec.get("state", "0")]
    lines += ["[run]", "command = %s %s" % (cast.agent, spec["command"]), "stop-timeout = " + spec.get("grace", "5s" if cast.real else "2s")]
    lines += ["start-timeout = " + spec.get("patience", "120s")]
    if "lifecycle" in spec:
        lines += ["[lifecycle]"] + ["%s = %s" % item for item in spec["lifecycle"].items()]
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")
    return path


def prepare(host, cast):
    """With a kosvmd that serves; returns the path of the manifest by kind."""
    key, images = cast.prepare(host)
    manifests = {}
    for kind in cast.kinds:
        manifests[kind] = write_manifest(host, cast, images, kind)
        host.good("manifest", "sign", manifests[kind], "--key", key)
    return manifests
