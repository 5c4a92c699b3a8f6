#pragma once

#include "value.h"

/* Every key of a manifest but those of [env] and [labels], which are the author's own. */
enum manifest_key_index {
	KEY_NAME,
	KEY_VERSION,
	KEY_KERNEL,
	KEY_INITRAMFS,
	KEY_ROOTFS,
	KEY_VCPUS,
	KEY_MEMORY,
	KEY_STATE,
	KEY_COMMAND,
	KEY_USER,
	KEY_WORKDIR,
	KEY_START_TIMEOUT,
	KEY_STOP_TIMEOUT,
	KEY_CONSOLE,
	KEY_LOG,
	KEY_RESTART,
	KEY_RESTART_MAX,
	KEY_RESTART_BACKOFF,
	KEY_RESTART_BACKOFF_MAX,
	KEY_RESTART_RESET,
	KEY_HEARTBEAT,
	KEY_HEARTBEAT_TIMEOUT,
	KEY_MAX_RUN_TIME,
	KEY_IDLE_AFTER,
	KEY_IDLE_ACTION,
	KEY_COUNT,
};

extern const struct ini_key manifest_keys[KEY_COUNT];
