"""The pages in the browser: one file a page, the theme and the shell that they share.

Pages build Gradio components and call use-cases; they hold no rule of their own. Every handler asks
`webapp.identity` who is there, because Gradio would run any handler for anybody who is signed in.
"""
