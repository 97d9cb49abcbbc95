"""The script of the page."""

import streamlit

streamlit.text(f"user={streamlit.user.get('name')}.")
