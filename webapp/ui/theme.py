"""The Gradio theme: every colour and size of Gradio's own controls, taken from atelier.css.

The stylesheet owns the values; this file only says which of Gradio's variables follow which of
ours, so that a stock textbox and a plain page cannot drift apart. Two literals are repeated here:
Gradio writes the body's ground into the page before any stylesheet has arrived, and without them
a dark page would flash white. No font is fetched: the stack is the system's.
"""

from gradio.themes import Base

GROUND = "#f4f5f5"
GROUND_DARK = "#101213"

# The one stylesheet that is there before the page: no logo of the page library while it loads.
_WHILE_LOADING = ".gradio-container .wrap.default.full svg { display: none; }"

_FONT = ("system-ui", "-apple-system", "Segoe UI", "Noto Sans", "Liberation Sans", "sans-serif")
_FONT_MONO = ("ui-monospace", "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", "monospace")

_FOLLOWS = {
    "background_fill_primary": "var(--surface)",
    "background_fill_secondary": "var(--ground)",
    "body_text_color": "var(--ink)",
    "body_text_color_subdued": "var(--ink-2)",
    "border_color_primary": "var(--line)",
    "border_color_accent": "var(--accent)",
    "color_accent_soft": "var(--accent-soft)",
    "block_background_fill": "transparent",
    "block_border_width": "0px",
    "block_info_text_color": "var(--ink-2)",
    "block_label_background_fill": "transparent",
    "block_label_text_color": "var(--ink)",
    "block_title_text_color": "var(--ink)",
    "block_title_background_fill": "transparent",
    "block_title_border_width": "0px",
    "block_shadow": "none",
    "panel_border_width": "0px",
    "panel_background_fill": "transparent",
    "input_background_fill": "var(--surface)",
    "input_background_fill_focus": "var(--surface)",
    "input_background_fill_hover": "var(--surface)",
    "input_border_color": "var(--line-strong)",
    "input_border_color_focus": "var(--accent)",
    "input_border_color_hover": "var(--line-strong)",
    "input_placeholder_color": "var(--ink-3)",
    "input_shadow": "none",
    "input_shadow_focus": "none",
    "checkbox_background_color": "var(--surface)",
    "checkbox_background_color_selected": "var(--accent)",
    "checkbox_border_color": "var(--line-strong)",
    "checkbox_border_color_selected": "var(--accent)",
    "checkbox_label_background_fill": "var(--surface)",
    "checkbox_label_background_fill_hover": "var(--sunken)",
    "checkbox_label_background_fill_selected": "var(--accent-soft)",
    "checkbox_label_border_color": "var(--line-strong)",
    "checkbox_label_text_color": "var(--ink)",
    "checkbox_label_text_color_selected": "var(--ink)",
    "checkbox_label_shadow": "none",
    "button_primary_background_fill": "var(--accent)",
    "button_primary_background_fill_hover": "var(--accent-hover)",
    "button_primary_border_color": "var(--accent)",
    "button_primary_text_color": "var(--accent-ink)",
    "button_primary_text_color_hover": "var(--accent-ink)",
    "button_primary_shadow": "none",
    "button_secondary_background_fill": "var(--surface)",
    "button_secondary_background_fill_hover": "var(--sunken)",
    "button_secondary_border_color": "var(--line-strong)",
    "button_secondary_text_color": "var(--ink)",
    "button_secondary_text_color_hover": "var(--ink)",
    "button_secondary_shadow": "none",
    "error_text_color": "var(--bad)",
    "error_background_fill": "var(--bad-soft)",
    "error_border_color": "var(--bad)",
    "slider_color": "var(--accent)",
    "link_text_color": "var(--accent)",
}

# Sizes have no dark twin in Gradio's theme.
_SIZES = {
    "block_title_text_size": "var(--small)",
    "block_title_text_weight": "600",
    "block_title_padding": "0px",
    "block_padding": "0px",
    "block_radius": "0px",
    "input_radius": "var(--radius-small)",
    "input_text_size": "var(--text)",
    "input_padding": "10px 12px",
    "layout_gap": "var(--s4)",
    "form_gap_width": "var(--s4)",
    "button_large_radius": "var(--radius-small)",
    "button_large_text_size": "var(--text)",
    "button_large_text_weight": "600",
    "button_transition": "none",
    "prose_text_size": "var(--text)",
}


def build_theme() -> Base:
    """Return the theme for every mount; light and dark take the same variables."""
    theme = Base(font=_FONT, font_mono=_FONT_MONO)
    twins = {
        f"{name}_dark": value for name, value in _FOLLOWS.items() if hasattr(theme, f"{name}_dark")
    }
    theme.custom_css = _WHILE_LOADING
    return theme.set(
        body_background_fill=GROUND,
        body_background_fill_dark=GROUND_DARK,
        body_text_size="var(--text)",
        **_FOLLOWS,
        **twins,
        **_SIZES,
    )
