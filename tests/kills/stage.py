"""What the load needs before it begins: a trusted key, three tiny images, and a signed manifest for every agent."""
import os
import struct

# What each kind of agent does, how its life may end by itself, and what kosvmd then says.
#   command      words for the stand-in's agent (tests/support/stand_in_agent.c)
#   restart      a restart policy, where the manifest knows one
#   ends         None: it runs until it is stopped; else (state, exit code, pattern of the reason)
KINDS = {
    "idle": dict(command="run"),
    "talks": dict(command="chatter 15"),
    "floods": dict(command="burst 3000 chatter 50"),
    "disk": dict(command="chatter 40", state="8M"),
    "leaves": dict(command="chatter 10 exit 3 700", ends=("stopped", 3, "code 3")),
    "falls": dict(command="chatter 10 signal 11 500", ends=("stopped", 139, "signal 11")),
    "crashes": dict(command="crash 600", ends=("failed", None, "signal 6|Aborted|aborted")),
    "switches-off": dict(command="poweroff 600", ends=("failed", None, "power-off|powered off|switched")),
    "stubborn": dict(command="stubborn chatter 30", grace="1s"),
    "comes-back": dict(command="chatter 25", restart="always"),
    "tries-again": dict(command="chatter 25", restart="on-failure"),
}


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


def write_manifest(host, images, name, kind):
    spec = KINDS[kind]
    path = os.path.join(host.work, "%s.%s.ini" % (name, kind))
    lines = ["[agent]", "name = " + name, "[image]"] + ["%s = %s" % item for item in images.items()]
    lines += ["[resources]", "memory = 64M", "state = " + spec.get("state", "0")]
    lines += ["[run]", "command = /agent " + spec["command"], "stop-timeout = " + spec.get("grace", "2s")]
    if "restart" in spec:
        lines += ["[lifecycle]", "restart = " + spec["restart"], "restart-max = 0"]
        lines += ["restart-backoff = 100ms", "restart-backoff-max = 500ms"]
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")
    return path


def kinds_known(host, images):
    """Without the restart policies where the manifest has none."""
    path = write_manifest(host, images, "probe", "comes-back")
    return [k for k, spec in KINDS.items() if "restart" not in spec or host.kosvm("manifest", "check", path).code == 0]


def prepare(host, names):
    """Starts kosvmd; returns the kinds, and the path of the manifest by name and kind."""
    key = os.path.join(host.work, "key")
    host.good("key", "gen", "--no-password", key)
    host.good("key", "trust", key + ".pub")
    images = import_images(host)
    kinds = kinds_known(host, images)
    manifests = {}
    for name in names:
        for kind in kinds:
            manifests[name, kind] = write_manifest(host, images, name, kind)
            host.good("manifest", "sign", manifests[name, kind], "--key", key + (".key" if os.path.exists(key + ".key") else ""))
    return kinds, manifests
