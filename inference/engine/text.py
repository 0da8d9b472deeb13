"""Trimmed text: diffusers' Krea 2 pipeline without the padding of every prompt to 512 tokens.

Stock `Krea2Pipeline` pads each prompt to 512 positions and masks them. Padding takes no position,
is masked as a key everywhere, and its own rows are dropped, so leaving it out computes the same
function (to 1e-6 in float32) for up to four times less work on small pictures; and without a mask
every attention kernel may be used. `load` builds this class; it stays a Krea2Pipeline for callers.
"""

from typing import Any

import torch
from diffusers import Krea2Pipeline

from inference.engine.qwen import tapped_states
from inference.engine.text_graphs import RecordedText

TOKENS_MAX = 512  # of a prompt, as stock
RECORDED_TOKENS_MAX = 560  # 512 of a prompt, 34 before them, 5 behind, rounded up


class TrimmedPipeline(Krea2Pipeline):  # type: ignore[misc] # diffusers is untyped
    """Krea2Pipeline whose text is as long as the longest prompt of the call, and no longer."""

    recorded: RecordedText | None = None

    def record_text(self) -> None:
        """Run the text encoder from recordings from now on: it stays on the card."""
        encoder = self.text_encoder.language_model
        taps = self.text_encoder_select_layers
        self.recorded = RecordedText(encoder, taps, RECORDED_TOKENS_MAX)

    def forget_recordings(self) -> None:
        """Give up their memory."""
        if self.recorded is not None:
            self.recorded.forget()

    def get_text_hidden_states(
        self,
        prompt: str | list[str],
        max_sequence_length: int = TOKENS_MAX,
        device: torch.device | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tapped hidden states (B, L, taps, width) and their mask (B, L), L as long as is needed.

        The layout is the stock one, [prefix | prompt | padding | suffix] less the prefix; prompts
        beyond `max_sequence_length` tokens are cut as there.
        """
        device = device or self._execution_device
        prompts = [prompt] if isinstance(prompt, str) else prompt
        ids, mask = self._tokens(prompts, max_sequence_length)
        states = self._tapped(ids, mask, device)
        return states, mask[:, self.prompt_template_encode_start_idx :].to(device)

    def states_of(self, prompt: str, device: torch.device) -> torch.Tensor:
        """One prompt's tapped hidden states (1, L, taps, width); all of its tokens are real.

        The host does not wait for them: a mask on the card would have to be asked.
        """
        return self._tapped(*self._tokens([prompt], TOKENS_MAX), device)

    def _tokens(self, prompts: list[str], tokens_max: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Their ids and which of them are real, each (B, prefix + L), in main memory."""
        dropped = self.prompt_template_encode_start_idx
        body = self.tokenizer(
            [self.prompt_template_encode_prefix + text for text in prompts],
            truncation=True,
            padding="longest",
            max_length=tokens_max + dropped - self.prompt_template_encode_num_suffix_tokens,
            return_tensors="pt",
        )
        suffix = self.tokenizer(
            [self.prompt_template_encode_suffix] * len(prompts), return_tensors="pt"
        )
        ids = torch.cat([body.input_ids, suffix.input_ids], dim=1)
        mask = torch.cat([body.attention_mask, suffix.attention_mask], dim=1).bool()
        return ids, mask

    def _tapped(self, ids: torch.Tensor, mask: torch.Tensor, device: torch.device) -> torch.Tensor:
        """The tapped states (B, L, taps, width) behind the prefix."""
        taps = self.recorded(ids) if self.recorded is not None and len(ids) == 1 else None
        if taps is None:
            positions = (mask.long().cumsum(dim=-1) - 1).clamp(min=0)
            taps = tapped_states(
                self.text_encoder.language_model,
                ids.to(device),
                mask,
                positions.to(device),
                self.text_encoder_select_layers,
            )
        return taps[:, self.prompt_template_encode_start_idx :]

    def encode_prompt(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As in diffusers, but the mask is None when every token is real."""
        embeds, mask = super().encode_prompt(*args, **kwargs)
        return embeds, None if bool(mask.all()) else mask
