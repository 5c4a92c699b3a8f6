/*
 * 32-bit protected mode without paging, start_info in ebx: says whether
 * its magic is right and switches the machine off.
 */
	.section .note.Xen, "a"
	.balign 4
	.long 4, 4, 18		/* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long pvh_start

	.text
	.code32
	.globl pvh_start
pvh_start:
	mov $bad, %esi
	cmpl $0x336ec578, (%ebx)
	jne 1f
	mov $good, %esi
1:	mov $0x3f8, %edx
2:	movb (%esi), %al
	test %al, %al
	jz 3f
	outb %al, %dx
	inc %esi
	jmp 2b
3:	mov $0x600, %edx
	mov $0x34, %al
	outb %al, %dx
4:	hlt
	jmp 4b

good:	.asciz "pvh: start_info\n"
bad:	.asciz "pvh: no start_info\n"
	.section .note.GNU-stack, "", @progbits
