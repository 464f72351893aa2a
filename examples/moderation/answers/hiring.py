"""Answers about job applications: skills of a resume, tone of a letter, the decision, and the letters to write."""

from __future__ import annotations

import re

from examples.moderation.answers.prompt import Prompt, Skill

_TECHNOLOGIES = (
    "TypeScript", "JavaScript", "Python", "Java", "Kotlin", "Swift", "Rust", "Go", "C", "C++", "C#", "Ruby", "PHP",
    "Scala", "Elixir", "Haskell", "R", "MATLAB", "SQL", "PostgreSQL", "MySQL", "SQLite", "MongoDB", "Redis",
    "Cassandra", "Kafka", "RabbitMQ", "Node.js", "Deno", "React", "Angular", "Vue", "Svelte", "Next.js", "Express",
    "NestJS", "Django", "Flask", "FastAPI", "Spring", "Rails", "Laravel", ".NET", "GraphQL", "REST", "gRPC",
    "HTML", "CSS", "Docker", "Kubernetes", "Terraform", "Ansible", "AWS", "Azure", "GCP", "Linux", "Git",
    "Jenkins", "Spark", "Airflow", "Dagster", "dbt", "Snowflake", "TensorFlow", "PyTorch",
)  # fmt: skip
_TECHNOLOGY_PATTERNS = {
    # Short names that are also words count only as they are usually written; the others in any case.
    name: re.compile(
        rf"(?<![\w.+#]){re.escape(name)}(?![\w+#]|\.\w)", 0 if len(name) <= 5 and name.isalpha() else re.IGNORECASE
    )
    for name in _TECHNOLOGIES
}
_CASUAL = re.compile(
    r"\b(?:hey|hi there|hiya|yo|gonna|wanna|cool|awesome|guys|lol|cheers|stuff|super|btw|kinda)\b|:-?\)|!{2,}", re.I
)
_UNPROFESSIONAL = re.compile(
    r"\b(?:sucks?|crap|damn|stupid|idiots?|whatever|boring|hate|lazy|pay me|i don't care|losers?|shut up|wtf)\b", re.I
)
_QUOTED = re.compile(r"`([^`]*)`")


def extract_skills(resume: str) -> list[str]:
    """The technologies named in ``resume``, in the order in which they appear."""
    found = {name: match.start() for name, pattern in _TECHNOLOGY_PATTERNS.items() if (match := pattern.search(resume))}
    return sorted(found, key=found.__getitem__)


def judge_tone(letter: str) -> str:
    """``professional``, ``casual`` or ``unprofessional``, by the words of ``letter``."""
    if _UNPROFESSIONAL.search(letter):
        return "unprofessional"
    return "casual" if _CASUAL.search(letter) else "professional"


def _check_qualifications(prompt: Prompt) -> str:
    """Compare the quoted lists: the skills, what is required, and the tone."""
    quoted = [part.strip() for part in _QUOTED.findall(prompt.text)]
    if len(quoted) < 3:
        return "false"
    skills, required, tone = ({item.strip().casefold() for item in part.split(",")} for part in quoted[:3])
    return "true" if required <= skills and tone == {"professional"} else "false"


def _invite(prompt: Prompt) -> str:
    name = _find_name(r"inviting (.+?) to an interview", prompt)
    return (
        f"Subject: Invitation to an interview\n\nDear {name},\n\nthank you for your application. We were impressed "
        "with your resume and would like to invite you to an interview. Please let us know which days suit you.\n\n"
        "Kind regards,\nThe hiring team"
    )


def _decline(prompt: Prompt) -> str:
    name = _find_name(r"email to (.+?) informing", prompt)
    return (
        f"Subject: Your application\n\nDear {name},\n\nthank you for your interest and for the time you took. We will "
        "not be moving forward with your application at this time. We wish you all the best.\n\n"
        "Kind regards,\nThe hiring team"
    )


def _find_name(pattern: str, prompt: Prompt) -> str:
    match = re.search(pattern, prompt.text, re.DOTALL)
    return match[1].strip() if match and match[1].strip() else "applicant"


SKILLS = (
    Skill(
        "skills of a resume",
        re.compile(r"\A[^\n]*technical skills from this resume", re.I),
        lambda prompt: ", ".join(extract_skills(prompt.material)),
    ),
    Skill(
        "tone of a letter",
        re.compile(r"\A[^\n]{0,30}tone of this cover letter", re.I),
        lambda prompt: judge_tone(prompt.material),
    ),
    Skill(
        "qualifications",
        re.compile(r"\ADoes this list of skills .*contain all of the following required skills", re.S | re.I),
        _check_qualifications,
    ),
    Skill("invitation", re.compile(r"\A[^\n]{0,40}\bemail inviting\b.*\binterview\b", re.S | re.I), _invite),
    Skill("rejection", re.compile(r"\A[^\n]*\bnot be moving forward with their application\b", re.I), _decline),
)
