"""The studio as processes: started, watched, stopped; and attached to a training process that has no bus yet."""

from weightslab.studio.attachment import StudioHandle, attach_embedded

__all__ = ["StudioHandle", "attach_embedded"]
