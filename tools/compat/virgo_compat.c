// SPDX-License-Identifier: GPL-2.0
/*
 * Lets programs of the first VIRGO run on a kernel without its system calls. Such
 * a program calls syscall(549, ...); preloaded, this library makes calls 548 to
 * 556 at /dev/virgo if the kernel does not have them, and passes on all others.
 *
 * It is for programs that are linked dynamically and use the C library's
 * syscall(). tools/compat/virgo-compat starts them.
 */
#include <unistd.h>

/* Not the one below, which would call the header again. */
#define syscall virgo_raw_syscall
#include <virgo.h>
#undef syscall

__attribute__((visibility("hidden"), used))
long virgo_compat_call(long number, unsigned long a, unsigned long b, unsigned long c,
		       unsigned long d)
{
	return virgo_enter(number, a, b, c, d);
}

__attribute__((visibility("hidden"), used))
long virgo_compat_error(int error)
{
	errno = error;
	return -1;
}

/*
 * As in the C library, without a frame of their own: a system call like clone()
 * may return on another stack. Calls 548 to 556 have at most four arguments,
 * which lie where virgo_compat_call() expects them.
 */
__asm__(
"	.text\n"
"	.globl	syscall\n"
"	.type	syscall, @function\n"
"syscall:\n"
"	endbr64\n"
"	leaq	-548(%rdi), %rax\n"
"	cmpq	$8, %rax\n"
"	jbe	virgo_compat_call\n"
"	jmp	virgo_raw_syscall\n"
"	.size	syscall, . - syscall\n"
"	.hidden	virgo_raw_syscall\n"
"	.globl	virgo_raw_syscall\n"
"	.type	virgo_raw_syscall, @function\n"
"virgo_raw_syscall:\n"
"	endbr64\n"
"	movq	%rdi, %rax\n"
"	movq	%rsi, %rdi\n"
"	movq	%rdx, %rsi\n"
"	movq	%rcx, %rdx\n"
"	movq	%r8, %r10\n"
"	movq	%r9, %r8\n"
"	movq	8(%rsp), %r9\n"
"	syscall\n"
"	cmpq	$-4095, %rax\n"
"	jae	1f\n"
"	ret\n"
"1:	negl	%eax\n"
"	movl	%eax, %edi\n"
"	jmp	virgo_compat_error\n"
"	.size	virgo_raw_syscall, . - virgo_raw_syscall\n");
