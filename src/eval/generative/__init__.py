"""How good generated images are, whom they show, and whether they give away those who were trained on."""
