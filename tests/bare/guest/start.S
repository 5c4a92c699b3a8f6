/* Entered in 64-bit mode with the zero page in rsi; interrupts are off and stay off. */
	.section .text.start, "ax"
	.globl _start
_start:
	lea stack_top(%rip), %rsp
	xor %ebp, %ebp
	mov %rsi, %rdi
	call guest_main
1:	hlt
	jmp 1b

	.bss
	.balign 16
	.skip 16384
stack_top:
	.section .note.GNU-stack, "", @progbits
