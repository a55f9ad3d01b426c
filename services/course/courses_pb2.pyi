from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Course(_message.Message):
    __slots__ = ("id", "curso", "facultad", "carrera", "region")
    ID_FIELD_NUMBER: _ClassVar[int]
    CURSO_FIELD_NUMBER: _ClassVar[int]
    FACULTAD_FIELD_NUMBER: _ClassVar[int]
    CARRERA_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    curso: str
    facultad: str
    carrera: str
    region: str
    def __init__(self, id: _Optional[bytes] = ..., curso: _Optional[str] = ..., facultad: _Optional[str] = ..., carrera: _Optional[str] = ..., region: _Optional[str] = ...) -> None: ...

class PutCoursesRequest(_message.Message):
    __slots__ = ("courses",)
    COURSES_FIELD_NUMBER: _ClassVar[int]
    courses: _containers.RepeatedCompositeFieldContainer[Course]
    def __init__(self, courses: _Optional[_Iterable[_Union[Course, _Mapping]]] = ...) -> None: ...

class PutCoursesResponse(_message.Message):
    __slots__ = ("failures",)
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    failures: _containers.RepeatedCompositeFieldContainer[Failure]
    def __init__(self, failures: _Optional[_Iterable[_Union[Failure, _Mapping]]] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("index", "reason", "message")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[Failure.Reason]
        REASON_INVALID: _ClassVar[Failure.Reason]
        REASON_REFUSED: _ClassVar[Failure.Reason]
        REASON_CONFLICT: _ClassVar[Failure.Reason]
    REASON_UNSPECIFIED: Failure.Reason
    REASON_INVALID: Failure.Reason
    REASON_REFUSED: Failure.Reason
    REASON_CONFLICT: Failure.Reason
    INDEX_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    index: int
    reason: Failure.Reason
    message: str
    def __init__(self, index: _Optional[int] = ..., reason: _Optional[_Union[Failure.Reason, str]] = ..., message: _Optional[str] = ...) -> None: ...
