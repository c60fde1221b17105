import { type Command, Option } from 'commander';
import { DEFAULT_MODEL, weightPlace } from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { loadDevice } from '../load-device.ts';

interface PackFlags {
  readonly model: string;
  readonly precision: 'int8' | 'int4';
  readonly json?: boolean;
}

/** `mobillm pack`: a model's weights, quantized and arranged once, into the cache. */
export function registerPack(program: Command): void {
  program
    .command('pack')
    .description('quantize and arrange a model once; later starts read the result from the cache')
    .option(
      '--model <name|path>',
      'named model (fetched when missing), org/name as pulled, a .gguf file, or a model folder',
      DEFAULT_MODEL,
    )
    .addOption(
      new Option('--precision <format>', "how the device holds the backbone's matrices")
        .choices(['int8', 'int4'])
        .default('int8'),
    )
    .addOption(new Option('--weights <format>').argParser(weightPlace).hideHelp())
    .option('--json', 'print one JSON object on standard output')
    .addHelpText(
      'after',
      `
The file lies in the folder packed of the cache; its name carries the SHA-256 of the model's weights,
the format and the layout. train, eval, predict, generate and demo write it themselves for models of
16 MiB and more, and read it where it is there; they say so, and --no-pack turns it off. A file that
is damaged or of another release is told, not used, and written anew. It may be deleted at any time.`,
    )
    .action(async (flags: PackFlags) => {
      await interruptible('nothing was packed', async (signal) => {
        const { model, precision, json } = flags;
        const device = await loadDevice(
          { model, precision, deviceBackend: 'wasm' },
          { quiet: true, signal, pack: 'always' },
        );
        try {
          const { packed, fingerprint } = device.info;
          const { state, path, bytes } = packed;
          process.stdout.write(
            json
              ? `${JSON.stringify({ model, precision, fingerprint, state, path, bytes })}\n`
              : `${path}\n`,
          );
        } finally {
          await device.close();
        }
      });
    });
}
