import { type DecoderSize, EPSILON } from './causal.ts'
import { llama } from './llama.ts'
import { writeModel } from './model.ts'
import { opt } from './opt.ts'
import { randomWeights, type WeightSource } from './random.ts'
import { characterPieces, llamaPieces, type PieceVocabulary } from './tokenizers.ts'

/** What config.json says. */
function configOf(size: DecoderSize) {
  const shared = {
    hidden_size: size.hidden,
    num_hidden_layers: size.layers,
    num_attention_heads: size.heads,
    vocab_size: size.vocabulary,
    max_position_embeddings: size.positions,
    bos_token_id: 1,
    eos_token_id: 2,
    tie_word_embeddings: size.form === 'learned' || (size.tied ?? true),
  }
  if (size.form === 'learned')
    return {
      architectures: ['OPTForCausalLM'],
      model_type: 'opt',
      ...shared,
      ffn_dim: size.intermediate,
      word_embed_proj_dim: size.hidden,
      do_layer_norm_before: true,
      activation_function: 'relu',
    }
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    ...shared,
    intermediate_size: size.intermediate,
    num_key_value_heads: size.kvHeads ?? size.heads,
    hidden_act: 'silu',
    rms_norm_eps: EPSILON,
    rope_theta: 10000,
  }
}

/**
 * Writes a decoder in Hugging Face layout: inputs `input_ids` and `attention_mask` [batch, sequence], output `logits`
 * [batch, sequence, vocabulary]; no cache of keys and values.
 * @param made weights and vocabulary of a real model; random and made up where absent.
 * @returns the file that holds the graph.
 */
export function writeDecoder(
  dir: string,
  size: DecoderSize,
  made: { weights?: WeightSource; vocabulary?: PieceVocabulary } = {},
): string {
  return writeModel(dir, {
    size,
    weights: made.weights ?? randomWeights(size.seed),
    config: configOf(size),
    tokenizer: llamaPieces(made.vocabulary ?? characterPieces(size.vocabulary)),
    inputs: ['input_ids', 'attention_mask'],
    outputDims: ['batch_size', 'sequence_length', size.vocabulary],
    write: (form) => (size.form === 'rotary' ? llama(form, size) : opt(form, size)),
  })
}
