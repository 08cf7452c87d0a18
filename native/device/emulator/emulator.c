/* Lifecycle of the emulator: memory, limits, thread. */
#define _GNU_SOURCE
#include "device/emulator/emulator.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "device/emulator/execute.h"
#include "device/error.h"
#include "vector/kernel.h"

#define MAX_KP_LIMIT (BETA_MAX_BLOCKS * 8u) /* a row of MAX_K elements from k0 = 127 at 8 bits */
#define RING_MAX 12u
/* A guard behind the window as large as its alignment: an access past the end ends the process instead of spreading. */
#define GUARD_BYTES ((size_t)BETA_WINDOW_ALIGN)

static void give_back(struct emulator *emulator) {
  beta_executor_close(emulator->executor);
  beta_pool_close(emulator->pool);
  pthread_mutex_destroy(&emulator->lock);
  /* NULL: somebody else's memory */
  if (emulator->mapping != NULL) munmap(emulator->mapping, emulator->mapping_bytes);
  free(emulator);
}

static void close_emulator(beta_device *device) {
  struct emulator *emulator = (struct emulator *)device;
  atomic_store(&emulator->closing, true);
  beta_pool_wake(emulator->pool, BETA_SEAT_ENGINE);
  pthread_join(emulator->thread, NULL); /* bounded: the engine looks at `closing` between blocks of work */
  give_back(emulator);
}

/* CPU and engine share their caches; what matters is which bytes the host has written. */
static int sync_for_device(beta_device *device, uint32_t offset, uint32_t bytes, bool lasting) {
  beta_executor_announce(((struct emulator *)device)->executor, offset, bytes, lasting);
  return 0;
}

static const struct beta_device_ops operations = {
    .close = close_emulator,
    .reg_read = beta_emulator_reg_read,
    .reg_write = beta_emulator_reg_write,
    .kick = beta_emulator_kick,
    .irq_wait = beta_emulator_irq_wait,
    .sync_for_device = sync_for_device,
};

void beta_emulator_preset_head(beta_device *device, uint32_t head) {
  struct emulator *emulator = (struct emulator *)device;
  pthread_mutex_lock(&emulator->lock);
  emulator->first_head = head;
  pthread_mutex_unlock(&emulator->lock);
}

/* Reserves the window 64 KiB aligned between inaccessible pages; pages are committed when they are first touched. */
static int map_window(struct emulator *emulator, size_t bytes) {
  emulator->mapping_bytes = bytes + 3 * GUARD_BYTES; /* one to align, one before, one behind */
  emulator->mapping = mmap(NULL, emulator->mapping_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (emulator->mapping == MAP_FAILED) return errno;
  const uintptr_t first = (uintptr_t)emulator->mapping + GUARD_BYTES;
  const uintptr_t aligned = (first + BETA_WINDOW_ALIGN - 1) / BETA_WINDOW_ALIGN * BETA_WINDOW_ALIGN;
  emulator->base.window = (void *)aligned;
  if (mprotect(emulator->base.window, bytes, PROT_READ | PROT_WRITE) == 0) return 0;
  const int failed = errno;
  munmap(emulator->mapping, emulator->mapping_bytes);
  return failed;
}

static void set_identity(struct emulator *emulator) {
  const struct beta_limits *limits = &emulator->limits;
  emulator_store(emulator, BETA_REG_ID, BETA_ENGINE_ID);
  emulator_store(emulator, BETA_REG_VERSION,
                 BETA_VERSION_MAJOR << BETA_VERSION_MAJOR_SHIFT | BETA_VERSION_MINOR << BETA_VERSION_MINOR_SHIFT);
  emulator_store(emulator, BETA_REG_CAPS, limits->caps);
  emulator_store(emulator, BETA_REG_GEOMETRY,
                 BETA_EMULATOR_DM << BETA_GEOMETRY_DM_SHIFT | BETA_EMULATOR_DN << BETA_GEOMETRY_DN_SHIFT |
                     BETA_EMULATOR_DK / 64 << BETA_GEOMETRY_DK64_SHIFT |
                     BETA_EMULATOR_LANES << BETA_GEOMETRY_LANES_SHIFT);
  emulator_store(emulator, BETA_REG_MAX_K, limits->max_k);
  emulator_store(emulator, BETA_REG_MAX_KP, limits->max_kp);
  emulator_store(emulator, BETA_REG_RING_MAX, limits->ring_max);
  emulator_store(emulator, BETA_REG_BUILD, BETA_BUILD_EMULATOR);
}

/* Pool, executor and thread; 0 or an errno. */
static int start_threads(struct emulator *emulator, const struct beta_kernel *kernel, uint32_t threads) {
  /* Engine and host are two of the threads: whichever is not the engine visits. */
  emulator->pool = beta_pool_open(threads, threads > 1 ? 1 : 0);
  if (emulator->pool == NULL) return errno;
  emulator->base.cpu_pool = emulator->pool;
  emulator->executor = beta_executor_open(kernel, emulator->base.window, emulator->pool);
  if (emulator->executor == NULL) return errno;

  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, BETA_POOL_STACK_BYTES);
  /* The host's signals are the host's: the engine's thread inherits a full mask. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int failed = pthread_create(&emulator->thread, &attributes, beta_emulator_thread, emulator);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (failed == 0) pthread_setname_np(emulator->thread, "beta-engine");
  return failed;
}

#define KERNELS_MAX 8u

/* The kernels that this CPU supports, fastest first, and their names; both end with NULL. */
static void supported_kernels(const struct beta_kernel **kernels, const char **names) {
  uint32_t count = 0;
  for (const struct beta_kernel *const *kernel = beta_kernels(); *kernel != NULL && count + 1 < KERNELS_MAX; kernel++) {
    if (!(*kernel)->supported()) continue;
    kernels[count] = *kernel;
    names[count++] = (*kernel)->name;
  }
  kernels[count] = NULL;
  names[count] = NULL;
}

/* The same for vector steps. */
static void supported_vector_kernels(const struct beta_vector_kernel **kernels, const char **names) {
  uint32_t count = 0;
  for (const struct beta_vector_kernel *const *kernel = beta_vector_kernels(); *kernel != NULL && count + 1 < KERNELS_MAX; kernel++) {
    if (!(*kernel)->supported()) continue;
    kernels[count] = *kernel;
    names[count++] = (*kernel)->name;
  }
  kernels[count] = NULL;
  names[count] = NULL;
}

/* `window` is NULL for memory of its own. */
static int open_emulator(const char *rest, void *window, uint64_t window_bytes, uint64_t bus, beta_device **device) {
  struct beta_limits limits = {
      .caps = BETA_CAPS_A_WIDTHS_MASK << BETA_CAPS_A_WIDTHS_SHIFT | BETA_CAPS_B_WIDTHS_MASK << BETA_CAPS_B_WIDTHS_SHIFT |
              BETA_CAPS_O_WIDTHS_MASK << BETA_CAPS_O_WIDTHS_SHIFT,
      .max_k = BETA_MAX_K_LIMIT,
      .max_kp = MAX_KP_LIMIT,
      .ring_max = RING_MAX,
  };
  const struct beta_kernel *kernels[KERNELS_MAX];
  const char *names[KERNELS_MAX];
  supported_kernels(kernels, names);
  const struct beta_vector_kernel *vector_kernels[KERNELS_MAX];
  const char *vector_names[KERNELS_MAX];
  supported_vector_kernels(vector_kernels, vector_names);
  uint32_t threads = 1, kernel = 0, vector = 0;
  const struct beta_option options[] = {
      {"threads", 1, BETA_POOL_THREADS_MAX, &threads, NULL},
      {"kernel", 0, 0, &kernel, names},
      {"vector", 0, 0, &vector, vector_names},
      {"max_k", 1, BETA_MAX_K_LIMIT, &limits.max_k, NULL},
      {"max_kp", 1, MAX_KP_LIMIT, &limits.max_kp, NULL},
      {"ring_log2", 0, RING_MAX, &limits.ring_max, NULL},
  };
  const int refused = beta_options_parse("emu", rest, options, sizeof options / sizeof options[0]);
  if (refused != 0) return refused;

  struct emulator *emulator = calloc(1, sizeof *emulator);
  if (emulator == NULL) return beta_fail(-ENOMEM, "emu: no memory for the emulator's state");
  emulator->base.ops = &operations;
  emulator->base.window_bytes = window_bytes;
  emulator->base.window = window;
  emulator->base.window_bus = bus;
  emulator->base.vector = vector_kernels[vector];
  emulator->limits = limits;
  set_identity(emulator);

  int failed = window == NULL ? map_window(emulator, (size_t)window_bytes) : 0;
  if (failed != 0) {
    free(emulator);
    return beta_fail(-ENOMEM, "emu: a window of %llu bytes could not be mapped (%s); use a smaller one",
                     (unsigned long long)window_bytes, strerror(failed));
  }
  pthread_mutex_init(&emulator->lock, NULL);
  failed = start_threads(emulator, kernels[kernel], threads);
  if (failed != 0) {
    give_back(emulator);
    return beta_fail(-ENOMEM, "emu: its threads and buffers could not be had (%s)", strerror(failed));
  }
  *device = &emulator->base;
  return 0;
}

int beta_emulator_open(const char *rest, uint64_t window_bytes, beta_device **device) {
  return open_emulator(rest, NULL, window_bytes, BETA_EMULATOR_BUS, device);
}

int beta_emulator_open_over(const char *rest, void *window, uint64_t window_bytes, uint64_t bus, beta_device **device) {
  return open_emulator(rest, window, window_bytes, bus, device);
}
