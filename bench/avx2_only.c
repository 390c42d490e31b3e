// Makes a program see a CPU without AVX-512, VNNI and AMX: the kernel lets CPUID fault, and the
// handler answers with what the instruction says, those bits cleared. Linux on x86-64 whose CPU has
// cpuid_fault.
//   cc -O2 -shared -fPIC -o avx2_only.so avx2_only.c && LD_PRELOAD=./avx2_only.so PROGRAM
// Masks of the bits: Intel's Software Developer's Manual, volume 2, CPUID.
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static struct sigaction previous;

static void let_cpuid(int allowed) { syscall(SYS_arch_prctl, ARCH_SET_CPUID, allowed); }

static void on_fault(int signal, siginfo_t* info, void* context) {
  greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  const uint8_t* code = (const uint8_t*)registers[REG_RIP];
  if (info->si_code != SI_KERNEL || code[0] != 0x0f || code[1] != 0xa2) {
    sigaction(signal, &previous, NULL);  // not ours: faults again, under the handler before it
    return;
  }
  uint32_t leaf = registers[REG_RAX], index = registers[REG_RCX], a, b, c, d;
  let_cpuid(1);
  __cpuid_count(leaf, index, a, b, c, d);
  let_cpuid(0);
  if (leaf == 7 && index == 0) {
    b &= ~0xdc230000u;  // AVX-512 F, DQ, IFMA, PF, ER, CD, BW, VL
    c &= ~0x00005842u;  // AVX-512 VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ
    d &= ~0x03c0010cu;  // AVX-512 4VNNIW, 4FMAPS, VP2INTERSECT, FP16; AMX BF16, TILE, INT8
  } else if (leaf == 7 && index == 1) {
    a &= ~0x00a00030u;  // AVX-VNNI, AVX-512 BF16, AMX FP16, AVX-IFMA
    d &= ~0x00080530u;  // AVX-VNNI-INT8, AVX-NE-CONVERT, AMX COMPLEX, AVX-VNNI-INT16, AVX10
  }
  registers[REG_RAX] = a;
  registers[REG_RBX] = b;
  registers[REG_RCX] = c;
  registers[REG_RDX] = d;
  registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void start(void) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &action, &previous);
  if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0)) {
    perror("avx2_only: this CPU or kernel cannot let CPUID fault");
    exit(1);
  }
}
