import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { CalibrationTables, LabelledRow, TapPlan } from '../device/index.ts';
import { readText, writeFileAtomic } from '../platform/node.ts';
import type { TrainingOptions } from '../server/index.ts';
import { UsageError } from '../tensor/errors.ts';
import type { DeviceInfo } from './device-thread.ts';

const FILE = 'job.json';
const FORMAT = 2;

/** All that decides what comes out of a job; a continued one has to be the same in it. */
export interface JobIdentity {
  readonly model: {
    readonly sha256: string;
    readonly precision: string;
    readonly backend: string;
    readonly randomSeed: number | null;
  };
  /** SHA-256 of the rows as they are sent, texts and labels. */
  readonly data: { readonly train: string; readonly valid: string };
  readonly plan: TapPlan;
  /** With the place of a language model's labels, where that is the device. */
  readonly training: TrainingOptions & { readonly labels?: string };
}

const partialSchema = z.object({
  format: z.literal(FORMAT),
  id: z.string().regex(/^[0-9a-f]{32}$/),
  /** Where it was begun. */
  server: z.string(),
  identity: z.record(z.string(), z.json()),
  calibration: z.object({ mean: z.base64(), scale: z.base64() }),
  /** What the server has said to be on its disk. */
  saved: z.object({ batches: z.int().min(0), step: z.int().min(0) }),
});

/** What the device keeps of a job until its adapter is written. */
export interface PartialJob {
  readonly id: string;
  readonly server: string;
  readonly identity: JobIdentity;
  readonly calibration: CalibrationTables;
  readonly saved: { readonly batches: number; readonly step: number };
}

/** The flags and things behind the parts of a job's identity, as a person knows them. */
const NAMES: Readonly<Record<string, string>> = {
  'model.sha256': 'the model (--model)',
  'model.backend': '--device-backend',
  'model.randomSeed': '--random-backbone',
  'data.train': 'the training rows (--data)',
  'data.valid': 'the validation rows (--data)',
  'plan.kinds': '--taps',
  'plan.bits': '--activation-bits',
  'plan.lm': '--no-mask-prompt, or the shape or wording of the rows (--data, --template)',
  'plan.labels': 'the labels (--data)',
  'plan.prefix': 'the examples in front (--prefix-shots, --data)',
  'training.baselines': '--no-baselines',
  'training.refit': '--no-refit',
};

/** Beside the adapter's own folder: that one is written whole or not at all. */
function folderOf(adapterPath: string): string {
  return `${adapterPath.replace(/[/\\]+$/, '')}.partial`;
}

/** Whether a job that was broken off waits to be continued. */
export function hasPartialJob(adapterPath: string): boolean {
  return existsSync(join(folderOf(adapterPath), FILE));
}

/** What the person should know when a training is broken off. */
export function unsavedText(adapterPath: string): string {
  const text = `no adapter was written to ${adapterPath}`;
  return hasPartialJob(adapterPath) ? `${text}; what is done is kept, --resume goes on` : text;
}

/** Puts together what decides a job. */
export function jobIdentity(
  info: DeviceInfo,
  backend: string,
  rows: { readonly train: readonly LabelledRow[]; readonly valid: readonly LabelledRow[] },
  plan: TapPlan,
  training: JobIdentity['training'],
): JobIdentity {
  const { fingerprint, precision, randomSeed } = info;
  return {
    model: { sha256: fingerprint, precision, backend, randomSeed: randomSeed ?? null },
    data: { train: digestOf(rows.train), valid: digestOf(rows.valid) },
    plan,
    training,
  };
}

/**
 * Reads what was kept of a job beside an adapter's folder.
 * @throws UsageError (E_RESUME) where nothing was, or it is damaged
 */
export async function readPartialJob(adapterPath: string): Promise<PartialJob> {
  const path = join(folderOf(adapterPath), FILE);
  if (!existsSync(path)) {
    throw new UsageError(
      `--resume: ${path}: nothing is there; no job for this --adapter-path was broken off that its server keeps (serve --state-dir)`,
      'E_RESUME',
    );
  }
  const damaged = (why: string) =>
    new UsageError(`--resume: ${path} is damaged: ${why}; --restart begins anew`, 'E_RESUME');
  let value: unknown;
  try {
    value = JSON.parse(await readText(path));
  } catch (error) {
    throw damaged((error as Error).message.replaceAll('\n', ' '));
  }
  const { sha256, ...body } = (value ?? {}) as Record<string, unknown>;
  if (sha256 !== digestOf(body)) throw damaged('its SHA-256 is another');
  const parsed = partialSchema.safeParse(body);
  if (!parsed.success) throw damaged(`${parsed.error.issues[0]?.message}`);
  return parsed.data as unknown as PartialJob;
}

/** Writes what is kept of a job, whole or not at all. @throws UsageError (E_DISK_FULL, ...) */
export async function writePartialJob(adapterPath: string, job: PartialJob): Promise<void> {
  const body = { format: FORMAT, ...job };
  const text = `${JSON.stringify({ ...body, sha256: digestOf(body) }, null, 2)}\n`;
  await writeFileAtomic(join(folderOf(adapterPath), FILE), text);
}

/** Removes what was kept of a job, and the folder where nothing else is in it. */
export async function removePartialJob(adapterPath: string): Promise<void> {
  const folder = folderOf(adapterPath);
  const files = await readdir(folder).catch(() => undefined);
  if (!files) return;
  // What a process that was killed amid a write left behind goes, too.
  const ours = files.filter((file) => file === FILE || file.startsWith(`.${FILE}.tmp-`));
  for (const file of ours) await rm(join(folder, file), { force: true });
  if (ours.length === files.length) await rmdir(folder);
}

/** Fails over the first thing in which a job differs. @throws UsageError (E_RESUME) naming it */
export function checkSameJob(stored: JobIdentity, now: JobIdentity): void {
  for (const part of ['model', 'data', 'plan', 'training'] as const) {
    const [before, after] = [stored[part], now[part]] as unknown as Record<string, unknown>[];
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      const [was, is] = [before[key], after[key]].map((value) => JSON.stringify(value) ?? 'none');
      if (was === is) continue;
      const kebab = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      const name = NAMES[`${part}.${key}`] ?? `--${kebab}`;
      const values =
        part === 'data' || key === 'sha256' ? '' : `: ${short(was)} then, ${short(is)} now`;
      throw new UsageError(
        `--resume: not the job that was begun, ${name} changed${values}; give what it was begun with, or --restart`,
        'E_RESUME',
      );
    }
  }
}

const short = (text: string) => (text.length > 60 ? `${text.slice(0, 59)}…` : text);

function digestOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}
