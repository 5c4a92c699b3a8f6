#pragma once

#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>

/*
 * What an ELF file must be before anything is made of it. All are
 * ELF64, little-endian, x86-64; each mistake is -ENOEXEC and says what was
 * found. Hostile input; nothing is trusted beyond what is checked here.
 */

/* A kernel: EXEC or DYN, at least one PT_LOAD, every segment within the file. */
int elf_check_kernel(int fd, uint64_t size, struct kerr *e);

/* A program for an initramfs: as above, and static (no PT_INTERP). In memory. */
int elf_check_static(const void *data, size_t len, struct kerr *e);

/* A kernel module: REL. In memory. */
int elf_check_module(const void *data, size_t len, struct kerr *e);
