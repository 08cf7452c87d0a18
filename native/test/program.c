/*
 * Programs on a device that only keeps a diary: what a run does is what its operations say, in their order, through the ring and
 * with every sync; it ends where it must, and says where. And what load refuses.
 */
#include <errno.h>

#include "device/device.h"
#include "program/program.h"
#include "test/support.h"

#define WINDOW 0x20000u
#define RING_LOG2 2u
#define DIARY 4096

/* An engine that completes `pace` descriptors whenever somebody sleeps, and stops for good at `stop_at`. */
struct diary {
  beta_device base;
  uint32_t head, tail, fault, pace, stop_at, naps;
  char text[DIARY];
  size_t used;
};

static void note(struct diary *diary, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct diary *diary, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int written = vsnprintf(diary->text + diary->used, DIARY - diary->used, format, arguments);
  va_end(arguments);
  if (written > 0 && diary->used + (size_t)written < DIARY) diary->used += (size_t)written;
}

static uint32_t reg_read(beta_device *device, uint32_t offset) {
  struct diary *diary = (struct diary *)device;
  if (offset == BETA_REG_HEAD) return diary->head;
  return offset == BETA_REG_FAULT ? diary->fault : 0;
}

static void reg_write(beta_device *device, uint32_t offset, uint32_t value) {
  (void)device, (void)offset, (void)value;
}

static void kick(beta_device *device, uint32_t tail) {
  struct diary *diary = (struct diary *)device;
  /* What the ring holds now is what the engine would fetch. */
  note(diary, "kick");
  for (uint32_t at = diary->tail; at != tail; at++) {
    beta_descriptor descriptor;
    memcpy(&descriptor, (uint8_t *)device->window + RING_OFF + (at & ((1u << RING_LOG2) - 1)) * sizeof descriptor, sizeof descriptor);
    note(diary, " %u", (unsigned)descriptor.tag);
  }
  note(diary, "; ");
  diary->tail = tail;
}

static int irq_wait(beta_device *device, uint32_t timeout_us) {
  (void)timeout_us;
  struct diary *diary = (struct diary *)device;
  diary->naps++;
  for (uint32_t i = 0; i < diary->pace; i++) {
    if (diary->head == diary->tail || diary->head == diary->stop_at) break;
    diary->head++;
  }
  if (diary->pace == 0) sleep_us(timeout_us);
  return 0;
}

static int sync_for_device(beta_device *device, uint32_t offset, uint32_t bytes, bool lasting) {
  if (lasting) note((struct diary *)device, "to stay: "); /* nothing of a program is */
  /* Of the ring only the slots matter: their bytes are in the kick. */
  if (offset >= RING_OFF && offset < RING_OFF + 0x1000) note((struct diary *)device, "slots %u; ", (unsigned)(bytes / 64));
  else note((struct diary *)device, "out %X+%X; ", (unsigned)offset, (unsigned)bytes);
  return 0;
}

static int sync_for_cpu(beta_device *device, uint32_t offset, uint32_t bytes) {
  note((struct diary *)device, "in %X+%X at %u; ", (unsigned)offset, (unsigned)bytes, (unsigned)((struct diary *)device)->head);
  return 0;
}

static const struct beta_device_ops operations = {
    .reg_read = reg_read, .reg_write = reg_write, .kick = kick, .irq_wait = irq_wait, .sync_for_device = sync_for_device, .sync_for_cpu = sync_for_cpu,
};

static uint8_t window[WINDOW] __attribute__((aligned(64)));

static struct diary open_diary(uint32_t base) {
  memset(window, 0, sizeof window);
  return (struct diary){
      .base = {.ops = &operations, .window = window, .window_bytes = WINDOW},
      .head = base,
      .tail = base,
      .pace = 1,
      .stop_at = base - 1,
  };
}

/* A DENSE step of one row and column: out = x * w. */
static beta_step_dense dense(uint32_t x, uint32_t out) {
  return (beta_step_dense){.op = BETA_STEP_DENSE, .rows = 1, .width = 1, .out_width = 1, .x_off = x, .weight_off = 0x3000, .out_off = out};
}

static float value_at(uint32_t off) {
  float value;
  memcpy(&value, window + off, sizeof value);
  return value;
}

static void put_value(uint32_t off, float value) { memcpy(window + off, &value, sizeof value); }

static beta_descriptor descriptors[7];
static beta_step_dense records[2];
static const beta_operation sound[] = {
    {BETA_OPERATION_VECTOR, 0, 1, 0},         {BETA_OPERATION_SYNC_FOR_DEVICE, 0x4010, 16, 0},
    {BETA_OPERATION_SUBMIT, 0, 6, 0},         {BETA_OPERATION_WAIT, 5, 0, 0},
    {BETA_OPERATION_SYNC_FOR_CPU, 0x5000, 32, 0}, {BETA_OPERATION_SUBMIT, 6, 1, 0},
    {BETA_OPERATION_VECTOR, 1, 1, 0},         {BETA_OPERATION_WAIT, 7, 0, 0},
};
#define SOUND (sizeof sound / sizeof sound[0])

static int load(const beta_operation *list, uint32_t count, beta_program **program) {
  return beta_program_load(WINDOW, descriptors, 7, records, 2, list, count, program);
}

static beta_program *load_sound(void) {
  beta_program *program;
  if (load(sound, SOUND, &program) != 0) {
    printf("Bail out! %s\n", beta_error());
    exit(1);
  }
  return program;
}

static beta_run begin(const struct diary *diary) {
  return (beta_run){.ring_off = RING_OFF, .ring_log2 = RING_LOG2, .tail = diary->tail, .timeout_us = 2000};
}

static void runs_in_order(uint32_t base) {
  struct diary diary = open_diary(base);
  beta_program *program = load_sound();
  /* The program is a copy. */
  descriptors[0].tag = 99;
  records[0].weight_off = 0x3004;
  put_value(0x3000, 3);
  put_value(0x4000, 5);
  beta_run run = begin(&diary);
  const int outcome = beta_program_run(&diary.base, program, &run, NULL);
  descriptors[0].tag = 0;
  records[0].weight_off = 0x3000;
  check(outcome == BETA_WAIT_DONE && run.position == SOUND, "a run from TAIL %u ends well, at operation %u", (unsigned)base, (unsigned)run.position);
  /* Ring of four: the first four, then as many as a quarter at least is free. From the end of the ring on in two pieces. */
  const uint32_t slot = base & 3;
  check(strstr(diary.text, "out 4010+10; ") == diary.text, "the first step's result is synced before anything is submitted");
  check(strstr(diary.text, slot == 0 ? "slots 4; kick 0 1 2 3; slots 1; kick 4; slots 1; kick 5; in 5000+20 at" : "kick 0 1 2 3; ") != NULL,
        "descriptors pass the ring in order: %s", diary.text);
  char expected[64];
  snprintf(expected, sizeof expected, "in 5000+20 at %u; ", (unsigned)(base + 5));
  check(strstr(diary.text, expected) != NULL && strstr(diary.text, "kick 6; ") > strstr(diary.text, expected),
        "the CPU syncs once the fifth is complete, not later, and before the seventh is submitted");
  check(run.tail == base + 7 && diary.head == base + 7 && diary.tail == base + 7, "all are complete and the tail is told");
  check(value_at(0x4010) == 15 && value_at(0x4020) == 45, "both steps ran, the second on the first one's result");
  check(run.submit_ns > 0 && run.wait_ns >= 0 && run.vector_ns > 0 && run.sync_ns >= 0, "its times are told");
  beta_program_free(program);
}

static void ends_where_it_must(void) {
  beta_program *program = load_sound();
  struct diary diary = open_diary(0);
  diary.stop_at = 3;
  beta_run run = begin(&diary);
  const uint64_t began = now_us();
  const int outcome = beta_program_run(&diary.base, program, &run, NULL);
  check(outcome == BETA_WAIT_TIMEOUT && run.position == 3 && now_us() - began >= 2000,
        "an engine that stops is waited for as long as it was told, at operation %u", (unsigned)run.position);
  check(run.tail == diary.tail, "the tail is the one that was kicked");

  diary = open_diary(0);
  diary.stop_at = 4;
  diary.fault = BETA_FAULT_BOUNDS;
  run = begin(&diary);
  check(beta_program_run(&diary.base, program, &run, NULL) == BETA_WAIT_FAULT, "a fault ends the run");

  diary = open_diary(10);
  diary.head = 40;
  run = begin(&diary);
  check(beta_program_run(&diary.base, program, &run, NULL) == BETA_RUN_GONE && run.position == 2, "a HEAD from nowhere ends the run");

  diary = open_diary(0);
  run = begin(&diary);
  run.ring_off = WINDOW - 64;
  check(beta_program_run(&diary.base, program, &run, NULL) == -EINVAL, "a ring outside the window is refused");
  run = begin(&diary);
  diary.base.window_bytes = WINDOW / 2;
  check(beta_program_run(&diary.base, program, &run, NULL) == -EINVAL, "a smaller window is refused");
  beta_program_free(program);
}

/* An index array that goes wrong after the program was loaded. */
static void refuses_indices(void) {
  struct diary diary = open_diary(0);
  beta_step_pick pick = {.op = BETA_STEP_PICK, .rows = 1, .width = 1, .starts_off = 0x6000, .sequences = 1, .index_off = 0x6040, .x_off = 0x7000, .x_rows = 4};
  const beta_operation list[] = {{BETA_OPERATION_VECTOR, 0, 1, 0}};
  beta_program *program;
  check(beta_program_load(WINDOW, NULL, 0, &pick, 1, list, 1, &program) == 0, "indices are not looked at by load");
  const uint32_t starts[2] = {0, 1};
  memcpy(window + 0x6000, starts, sizeof starts);
  uint32_t index = 3;
  memcpy(window + 0x6040, &index, sizeof index);
  beta_run run = begin(&diary);
  check(beta_program_run(&diary.base, program, &run, NULL) == BETA_WAIT_DONE, "a good index runs");
  index = 4;
  memcpy(window + 0x6040, &index, sizeof index);
  check(beta_program_run(&diary.base, program, &run, NULL) == -EINVAL && run.position == 0 && run.record == 0, "a bad one is refused by the run");
  beta_program_free(program);
}

static void keeps_a_timeline(void) {
  struct diary diary = open_diary(0);
  beta_program *program = load_sound();
  beta_run run = begin(&diary);
  double times[2 * (SOUND + 7)];
  check(beta_program_run(&diary.base, program, &run, times) == BETA_WAIT_DONE, "a run with a timeline ends well");
  bool ordered = times[0] == 0;
  for (size_t i = 0; i < SOUND; i++) ordered = ordered && times[2 * i] <= times[2 * i + 1] && (i == 0 || times[2 * i] == times[2 * i - 1]);
  check(ordered, "operations follow one another without a gap");
  const double *own = times + 2 * SOUND;
  bool complete = true;
  for (size_t i = 0; i < 7; i++) complete = complete && own[2 * i] <= own[2 * i + 1] && own[2 * i] > 0 && (i == 0 || own[2 * i - 1] <= own[2 * i + 1]);
  check(complete, "every descriptor was submitted before it was complete, in order");
  check(own[2 * 6] >= times[2 * 4 + 1] && own[2 * 6 + 1] <= times[2 * (SOUND - 1) + 1], "the last one between its submission and its wait");
  beta_program_free(program);
}

static void refuses(const char *what, beta_operation changed, uint32_t at, uint32_t count) {
  beta_operation list[SOUND];
  memcpy(list, sound, sizeof list);
  list[at] = changed;
  beta_program *program = NULL;
  check(load(list, count, &program) == -EINVAL && program == NULL, "refused: %s (%s)", what, beta_error());
}

static void refuses_malformed_programs(void) {
  refuses("an unknown operation", (beta_operation){6, 0, 0, 0}, 3, SOUND);
  refuses("operation 0", (beta_operation){0, 0, 0, 0}, 3, SOUND);
  refuses("a spare word", (beta_operation){BETA_OPERATION_WAIT, 5, 0, 1}, 3, SOUND);
  refuses("descriptors that do not come next", (beta_operation){BETA_OPERATION_SUBMIT, 1, 5, 0}, 2, SOUND);
  refuses("more descriptors than there are", (beta_operation){BETA_OPERATION_SUBMIT, 0, 8, 0}, 2, SOUND);
  refuses("a count that wraps", (beta_operation){BETA_OPERATION_SUBMIT, 0, UINT32_MAX, 0}, 2, SOUND);
  refuses("no descriptors", (beta_operation){BETA_OPERATION_SUBMIT, 0, 0, 0}, 2, SOUND);
  refuses("a wait for what was not submitted", (beta_operation){BETA_OPERATION_WAIT, 7, 0, 0}, 3, SOUND);
  refuses("records that do not come next", (beta_operation){BETA_OPERATION_VECTOR, 1, 1, 0}, 0, SOUND);
  refuses("more records than there are", (beta_operation){BETA_OPERATION_VECTOR, 1, 2, 0}, 6, SOUND);
  refuses("a sync outside the window", (beta_operation){BETA_OPERATION_SYNC_FOR_CPU, WINDOW - 16, 17, 0}, 4, SOUND);
  refuses("a sync that wraps", (beta_operation){BETA_OPERATION_SYNC_FOR_DEVICE, UINT32_MAX, UINT32_MAX, 0}, 4, SOUND);
  refuses("an end before the last wait", sound[0], 0, SOUND - 1);
  refuses("an end before the last record", sound[0], 0, SOUND - 2);
  records[1].x_off = WINDOW - 2;
  refuses("a record that reaches outside the window", sound[0], 0, SOUND);
  records[1].x_off = 0x4010;
}

int main(void) {
  for (uint32_t i = 0; i < 7; i++) descriptors[i].tag = i;
  records[0] = dense(0x4000, 0x4010);
  records[1] = dense(0x4010, 0x4020);
  runs_in_order(0);
  runs_in_order(3);
  runs_in_order(UINT32_MAX - 2);
  ends_where_it_must();
  refuses_indices();
  keeps_a_timeline();
  refuses_malformed_programs();
  return finish();
}
