#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Things the tests of images/ are made of. All abort the test process on
 * failure: they are no part of what is tested.
 */

/* A fresh private directory; its descriptor. Removed with all in it by sample_dir_done. */
int sample_dir(char path[static 64]);
void sample_dir_done(int fd, const char *path);

/* How many entries the directory has, "." and ".." not counted. */
size_t sample_count(int dirfd);

/* A memfd with these bytes, its offset at 0. */
int sample_fd(const void *data, size_t len);

/* A file below dirfd. */
void sample_write(int dirfd, const char *name, const void *data, size_t len);

/* The smallest ELF64 for x86-64 of this type with one segment; `len` bytes in all, >= 256. */
uint8_t *sample_elf(uint16_t type, size_t len);

/* An ELF64 module whose .modinfo says depends=DEPENDS (NULL: no .modinfo). */
uint8_t *sample_module(const char *depends, size_t *ret_len);

enum sample_pack { SAMPLE_GZIP, SAMPLE_XZ, SAMPLE_ZSTD, SAMPLE_LZ4 };
uint8_t *sample_packed(enum sample_pack how, const void *data, size_t len, size_t *ret_len);

/* A bzImage around a payload as the kernel's build makes it (size behind it, but for gzip). */
uint8_t *sample_bzimage(const void *payload, size_t len, const uint32_t *size, size_t *ret_len);
