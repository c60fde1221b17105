/**
 * What one sample sends of a layer: `last`, the last token's hidden state (of the template's final
 * token, which has seen everything in a decoder), `mean`, the mean over its tokens, `template`, the
 * mean over the template's words behind the text, or `first`, the first token's (`[CLS]` of an
 * encoder; in a decoder it has seen nothing but itself).
 */
export type TapKind = 'last' | 'mean' | 'template' | 'first';

/** As `TapKind`; or `token`, of a language model: every token whose next one is in the loss. */
export type SentKind = TapKind | 'token';

/** Every tap kind, in the order in which they are listed to people. */
export const TAP_KINDS: readonly TapKind[] = ['last', 'mean', 'template', 'first'];
