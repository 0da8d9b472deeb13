"""The creator page below its form, before its scripts fill it: places and words, nothing else.

feed.js, stage.js, gallery.js and viewer.js look their places up by class. What stands here is fixed
text; jobs, prompts and pictures come from GET /events and are drawn with DOM calls.
"""

from html import escape

# What the pocket model draws well, in the words that it learned.
EXAMPLES = (
    "a red apple, flat style, on a blue background",
    "a white swan, 3d render, on a teal background",
    "a fox to the left of a tree, shaded illustration, on a white background",
    "a pink flamingo, pixel art, on a yellow background",
)

_BUTTONS = "".join(
    f'<li><button type="button" class="example" data-prompt="{escape(example)}">'
    f"{escape(example)}</button></li>"
    for example in EXAMPLES
)

# What prompt.js and viewer.js listen for.
SHORTCUTS = (
    ("Generate", ("Ctrl", "Enter")),
    ("Write the prompt", ("P",)),
    ("Search your pictures", ("/",)),
    ("Next or previous picture", ("←", "→")),
    ("Star the picture that is open", ("S",)),
    ("Delete the picture that is open", ("Del",)),
    ("Close", ("Esc",)),
    ("Show this list", ("?",)),
)

_KEYS = "".join(
    f"<div><dt>{what}</dt><dd>{' '.join(f'<kbd>{key}</kbd>' for key in keys)}</dd></div>"
    for what, keys in SHORTCUTS
)

FEED = f"""
<div class="feed" data-state="loading">
  <p class="feed-said visually-hidden" role="status" aria-live="polite"></p>
  <p class="notice care offline-notice" role="alert" hidden>The connection is lost. Your jobs go on;
    this page comes back by itself.</p>
  <p class="notice care worker-notice" role="status" hidden></p>
  <div class="feed-loading" aria-hidden="true"><div class="sheet"></div></div>
  <section class="stage" aria-label="Newest job" hidden></section>
  <ul class="others" aria-label="Other jobs in progress" hidden></ul>
  <section class="feed-empty" hidden>
    <h2>Your first picture</h2>
    <p class="muted">Write what it should show, or begin with one of these.</p>
    <ul class="examples">{_BUTTONS}</ul>
    <p class="muted small">Pocket Turbo and Pocket Raw are small models made for this studio; they
      are not Krea 2. They draw one or two everyday things in four illustration styles. Ask them for
      people, text, scenery or photographs and you get an arbitrary picture.</p>
  </section>
  <search class="gallery-bar" hidden>
    <input class="input gallery-search" type="search" placeholder="Search your prompts"
      aria-label="Search your prompts" autocomplete="off" spellcheck="false" maxlength="200">
    <button type="button" class="button gallery-starred" aria-pressed="false">Starred</button>
  </search>
  <section class="gallery" aria-label="Earlier pictures"></section>
  <p class="empty gallery-none" role="status" hidden></p>
  <p class="notice bad gallery-error" role="alert" hidden>The older pictures could not be fetched.
    Try again.</p>
  <button type="button" class="button gallery-more" hidden>Show older pictures</button>
  <footer class="feed-foot">Every picture here is made by an AI model and says so in its file.
    <a href="/agreements">Licence and acceptable use</a>
    <button type="button" class="shortcuts-open">Keyboard shortcuts</button></footer>
  <dialog class="viewer"></dialog>
  <dialog class="small-dialog removal" aria-labelledby="removal-title"></dialog>
  <dialog class="small-dialog shortcuts" aria-labelledby="shortcuts-title">
    <h2 id="shortcuts-title">Keyboard shortcuts</h2>
    <dl class="rows">{_KEYS}</dl>
    <form method="dialog"><button class="button">Close</button></form>
  </dialog>
</div>
"""

# The script's signals become Gradio events, which Python handlers answer.
ON_LOAD = """
for (const name of ['cancel', 'reuse', 'studio']) {
  element.addEventListener(`atelier:${name}`, (event) => trigger(name, event.detail ?? {}));
}
"""
