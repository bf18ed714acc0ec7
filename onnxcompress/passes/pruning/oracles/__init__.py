"""What a prune must satisfy, and is held to as the pass's post-condition (`post_condition`).

* Zero test (`zero_test`): the result computes what the original computes with the doomed slices at zero; what takes
  statistics over a cut axis sees only what is kept there (`masking`).
* Permutation test (`permutation_test`): channels that nothing tells apart trade places everywhere, and no output moves.
* A cut of nothing is the identity.
* Strict shape inference with data propagation (`inference`), and runs at several batch sizes and lengths (`probes`).
"""
