#pragma once

/* Strings that the writer and the reader of the board share. */
#define BOARD_COMPATIBLE        "kosvm,board-1"
#define BOARD_COMPATIBLE_VIRTIO "virtio,mmio"

extern const char *const board_device_names[]; /* by enum board_device */
