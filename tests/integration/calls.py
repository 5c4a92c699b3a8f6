"""Which system calls kosvm-vmm's threads made, against those that their filters allow.

usage: calls.py record LIST TRACEFS   from now on
       calls.py judge LIST TRACEFS    a line for each rule that nothing used; 1 when there is one
       calls.py stop LIST TRACEFS

LIST is build/jail/seccomp.list, made from jail/seccomp_rules.c: threads, call, its number, arguments (to read, and as
ARG:MASK:VALUE), what comes to it that a run does not, reason. The kernel counts for us, by hist triggers on the entries of
system calls; it tells threads apart by their names.
"""
import collections
import os
import re
import sys

# What a thread is called while its filter holds. Set-up may do what the others may, so their calls count for it, too.
NAMES = {
    "setup": 'comm == "kosvm-vmm-setup"',
    "vcpu": 'comm ~ "vcpu*"',
    "loop": 'comm == "kosvm-vmm"',
    "block": 'comm == "blk"',
}
OWN_PID = 0x6F776E50  # jail/seccomp_own_pid.h: whatever it was

Rule = collections.namedtuple("Rule", "kind call number text checks rare reason")


def read_rules(path):
    rules = []
    with open(path, encoding="ascii") as lines:
        for line in lines:
            kind, call, number, text, checks, rare, reason = line.rstrip("\n").split("\t")
            parts = [tuple(int(n, 0) for n in c.split(":")) for c in checks.split(",") if c != "-"]
            parts = [c for c in parts if c[2] != OWN_PID]
            rules.append(Rule(kind, call, int(number), text, parts, None if rare == "-" else rare, reason))
    return rules


def event_of(tracefs, call):
    return os.path.join(tracefs, "events/syscalls/sys_enter_" + call)


def fields_of(event):
    """Names of a call's arguments."""
    with open(os.path.join(event, "format"), encoding="ascii") as f:
        found = re.findall(r"field:[^;]*?(\w+);", f.read())
    return found[found.index("__syscall_nr") + 1:]


def checked(rules):
    """Call: the arguments that some rule looks at."""
    args = collections.defaultdict(set)
    for rule in rules:
        for arg, _mask, _value in rule.checks:
            args[rule.call].add(arg)
    return {call: sorted(a) for call, a in args.items()}


def triggers(rules, tracefs):
    """(event, trigger) of all that is counted."""
    raw = os.path.join(tracefs, "events/raw_syscalls/sys_enter")
    events = [(raw, "id")]
    for call, args in sorted(checked(rules).items()):
        event = event_of(tracefs, call)
        fields = fields_of(event)
        events.append((event, ",".join(fields[a] + ".hex" for a in args)))
    return [(event, "hist:keys=%s:size=1024 if %s" % (keys, name)) for event, keys in events for name in NAMES.values()]


def switch(rules, tracefs, sign):
    for event, trigger in triggers(rules, tracefs):
        with open(os.path.join(event, "trigger"), "a", encoding="ascii") as f:
            f.write(sign + trigger + "\n")


def counted(event):
    """Kind: what was seen, each a tuple of the keys."""
    seen = collections.defaultdict(set)
    kind = None
    with open(os.path.join(event, "hist"), encoding="ascii", errors="replace") as lines:
        for line in lines:
            info = re.match(r"# trigger info: .* if (.*?) \[", line)
            if info:
                kind = next(k for k, name in NAMES.items() if name == info.group(1))
            entry = re.match(r"\{ (.*) \} hitcount:", line)
            if entry:
                base = 16 if ".hex" not in line and "raw_syscalls" not in event else 10
                seen[kind].add(tuple(int(part.split(":")[1], base) for part in entry.group(1).split(",")))
    return seen


def used(rule, numbers, arguments, args):
    kinds = NAMES if rule.kind == "setup" else [rule.kind]
    for kind in kinds:
        if not rule.checks and (rule.number,) in numbers[kind]:
            return True
        for values in arguments.get(rule.call, {}).get(kind, ()):
            value_of = dict(zip(args[rule.call], values))
            if rule.checks and all(value_of[arg] & mask == value for arg, mask, value in rule.checks):
                return True
    return False


def judge(rules, tracefs):
    args = checked(rules)
    numbers = counted(os.path.join(tracefs, "events/raw_syscalls/sys_enter"))
    arguments = {call: counted(event_of(tracefs, call)) for call in args}
    for kind in NAMES:
        if not numbers[kind]:
            print("no thread of kind %s was seen at all" % kind)
            return 1
    unused = 0
    for rule in rules:
        if not rule.rare and not used(rule, numbers, arguments, args):
            print("%s: %s (%s): allowed, and nothing used it: %s" % (rule.kind, rule.call, rule.text, rule.reason))
            unused += 1
    for kind in NAMES:
        calls = {r.call for r in rules if r.kind == kind}
        seen = {r.call for r in rules if r.kind == kind and used(r, numbers, arguments, args)}
        print("%s: %d calls allowed, %d used" % (kind, len(calls), len(seen)))
    return 1 if unused else 0


def main():
    verb, path, tracefs = sys.argv[1:]
    rules = read_rules(path)
    if verb == "judge":
        return judge(rules, tracefs)
    switch(rules, tracefs, "" if verb == "record" else "!")
    return 0


sys.exit(main())
