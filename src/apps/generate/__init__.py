"""``privface generate``: a data set of synthetic people in visible light and near infrared."""
