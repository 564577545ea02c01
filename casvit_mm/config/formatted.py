"""A config whose text is formatted once, however often a run writes it."""

from mmengine.config import Config


class FormattedOnce(Config):
    """A config that formats its text anew only after a change.

    mmengine formats the whole text each time it is asked for it, which takes a second or two: for
    the log, for two files of the work dir, and for every checkpoint.
    """

    @classmethod
    def of(cls, cfg: Config) -> 'FormattedOnce':
        """Returns a config with the same values, which both share.

        Args:
            cfg: The config.
        """
        config = cls.__new__(cls)
        config.__setstate__(cfg.__getstate__())
        return config

    @property
    def pretty_text(self) -> str:
        """The formatted text of the config, the same as mmengine's."""
        source = Config(self.to_dict(), format_python_code=False).pretty_text
        kept = self.__dict__.get('_kept')
        if kept is None or kept[0] != source:
            kept = source, super().pretty_text
            # A plain assignment would be one to a key of the config.
            self.__dict__['_kept'] = kept
        return kept[1]
